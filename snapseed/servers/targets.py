"""Which database an environment means: one on the embedded server, or the one of its URL."""

from __future__ import annotations

from snapseed.config import Environment, Project
from snapseed.postgres.connect import Target, target_of
from snapseed.servers import EmbeddedPostgres

EMBEDDED = "embedded"


def resolve_target(project: Project, environment: Environment) -> Target:
    """The database of `environment`; touches nothing. Raises `ConfigurationError` for a URL that does not parse."""
    source = environment.sources.get("database", "")
    if environment.database == EMBEDDED:
        server = EmbeddedPostgres(project.folder)
        name = f"snapseed_{environment.name.replace('-', '_')}"
        return Target(server.url(name), f"embedded PostgreSQL, database {name}", source, server, name)
    return target_of(environment.database, source)
