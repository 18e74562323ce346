"""Each setting of a role or a database alone, with an awkward value: `make stress-settings`.

A script, not a test: it takes minutes. All settings at once are tested in tests/testing/test_settings.py. Exit code 1
if a load, a verification, a comparison or a reset came to another result. Arguments are names of settings; without one,
all are tried.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests import server_choice
from tests.conftest import PROJECTS, Sandbox, copied
from tests.postgres.awkward import assign, awkward_settings
from tests.projects.state import generated
from tests.stress.run import say
from tests.testing.conftest import new_owner
from tests.testing.test_settings import KINDS, everything


def main() -> int:
    """Try each setting for a role and for a database, and print what failed."""
    started, failed = time.monotonic(), 0
    with server_choice.running_server() as server, tempfile.TemporaryDirectory() as folder:
        shapes = generated(Sandbox(copied(PROJECTS / "shapes", Path(folder)), "")).folder
        with psycopg.connect(server, autocommit=True) as connection:
            settings = awkward_settings(connection)
            settings = {name: settings[name] for name in sys.argv[1:] or settings}
            for name, value in settings.items():
                for kind in KINDS:
                    problem = _problem(connection, server, shapes, kind, {name: value})
                    failed += bool(problem)
                    say(f"{kind:<8} {name} = {value}{problem}")
    say(f"{len(settings)} settings, for a role and a database: {failed} failed; {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


def _problem(connection: psycopg.Connection, server: str, shapes: Path, kind: str, setting: dict[str, str]) -> str:
    with new_owner(server, shapes) as owner:
        # A superuser may copy every setting of the database to the one that takes its place.
        owner.administer("ALTER ROLE {} SUPERUSER", owner.role)
        name = owner.role if kind == "ROLE" else str(conninfo_to_dict(owner.url)["dbname"])
        assign(connection, kind, name, setting)
        try:
            everything(owner)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is a finding
            return f"  FAILED: {type(exc).__name__}: {exc}"
        return ""


if __name__ == "__main__":
    sys.exit(main())
