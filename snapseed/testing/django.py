"""A test runner for Django whose test database is a copy of a template with all migrations and the snapshot."""

from __future__ import annotations

import inspect
from pathlib import Path

from django.core.management import CommandError, call_command
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.test.runner import DiscoverRunner
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapseed.config import find_project
from snapseed.errors import SnapseedError
from snapseed.testing.clones import migrations, opened_clones


class SnapshotRunner(DiscoverRunner):  # type: ignore[misc]
    """A `TEST_RUNNER` whose test database is copied from a template with the migrations and the snapshot.

    The server is the one of `DATABASES`, the snapshot the one of the environment. What a load raises becomes a
    `CommandError`.
    """

    alias = "default"
    environment: str | None = None

    def setup_databases(self, **options: object) -> object:
        """Create the test databases as Django does, but the one of `alias` from the template."""
        settings = connections[self.alias].settings_dict
        parts = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
        url = make_conninfo("", **{part: settings[key] for part, key in parts.items() if settings[key]})
        loader = MigrationLoader(None, ignore_no_migrations=True)
        files = [Path(inspect.getfile(type(migration))) for migration in loader.disk_migrations.values()]
        try:
            project = find_project()
            name = self.environment or ("test" if "test" in project.environments else None)
            environment = project.environment(name, {"database": url})
            schema = migrations(self._migrate, files, project.folder)
            with opened_clones(project, environment, schema) as clones:
                settings["TEST"]["TEMPLATE"] = clones.template.name
                return super().setup_databases(**options)
        except SnapseedError as exc:
            raise CommandError(str(exc)) from exc

    def _migrate(self, url: str) -> None:
        """Run Django's migrations on the database of this URL."""
        connection = connections[self.alias]
        name = connection.settings_dict["NAME"]
        connection.close()
        connection.settings_dict["NAME"] = conninfo_to_dict(url)["dbname"]
        try:
            call_command("migrate", database=self.alias, verbosity=0, interactive=False)
        finally:
            connection.close()
            connection.settings_dict["NAME"] = name
