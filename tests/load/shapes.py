"""A small project whose schema the test writes, and the checks that follow every load."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from snapseed import LoadRequest, SnapseedError, load_snapshot, verify_snapshot
from snapseed.load.outcome import LoadReport
from snapseed.load.request import LoadSettings, Mode
from tests.conftest import Sandbox
from tests.projects.state import contents

ROLE = "snapseed_shapes"
TABLES = ("teams", "people", "badges")


@dataclass(frozen=True)
class Shapes(Sandbox):
    """A sandbox of the project `shapes`."""

    def create(self, statements: str = "") -> None:
        """Create the project's tables, then run `statements`."""
        schema = self.project.schema
        assert schema is not None
        self.execute(schema.read_text(encoding="utf-8") + statements)

    def execute(self, statements: str) -> list[tuple[object, ...]]:
        """Run statements and return the rows of the last one, if any. The statistics count their changes at once."""
        with self.connect() as connection:
            cursor = connection.execute(statements.encode())
            while cursor.nextset():
                pass
            rows = cursor.fetchall() if cursor.description else []
            if connection.info.server_version >= 150_000:
                connection.execute("SELECT pg_stat_force_next_flush()")
            return rows

    def one(self, query: str) -> object:
        """The single value that a query returns."""
        ((value,),) = self.execute(query)
        return value

    def empty(self) -> None:
        """Remove all rows, without firing triggers or rules."""
        self.execute(f"SET session_replication_role = replica; TRUNCATE {', '.join(TABLES)} CASCADE")

    def load(
        self, mode: Mode = Mode.REPLACE, *, agrees: object = False, rebuild_rows: int = 2_000, **options: object
    ) -> LoadReport:
        """Load. With `agrees`, check that the database then holds the snapshot and nothing else."""
        overrides = {
            name: options.pop(name)
            for name in ("database", "create_schema", "connections", "snapshot")
            if name in options
        }
        environment = self.environment(None, **overrides)
        request = LoadRequest(mode=mode, **options)  # type: ignore[arg-type]
        report = load_snapshot(
            self.project, environment, request, settings=LoadSettings(rebuild_rows=rebuild_rows, parallel_rows=0)
        )
        only = tuple(entity.name for entity in report.manifest.chosen(request.only))
        if agrees:
            assert verify_snapshot(self.project, self.environment(), only=only).agrees
        return report

    def refused(self, mode: Mode = Mode.REPLACE, **options: object) -> SnapseedError:
        """The error of a load that must fail, and must have changed nothing."""
        with self.connect() as connection:
            before = contents(connection)
            with pytest.raises(SnapseedError) as caught:
                self.load(mode, **options)  # type: ignore[arg-type]
            assert contents(connection) == before
        assert caught.value.summary.endswith("; nothing was changed")
        return caught.value

    @contextmanager
    def role(self) -> Iterator[str]:
        """The URL for a new role that may only connect, and that is dropped at the end."""
        self.execute(f"CREATE ROLE {ROLE} LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC")
        try:
            yield f"{self.url} user={ROLE}"
        finally:
            self.execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


def reasons(report: LoadReport) -> str:
    """All reasons of the plan, one per line, each with its entity."""
    return "\n".join(f"{table.entity.name}: {reason}" for table in report.plan.tables for reason in table.reasons)


def mentions(text: str, words: str) -> bool:
    """Whether one reason or problem of `text` has these words in this order: names and facts, not a whole sentence."""
    pattern = re.compile(".*".join(map(re.escape, words.split(" … "))))
    return any(pattern.search(part) for part in re.split(r"\n|; ", text))


def rebuilt(report: LoadReport) -> set[str]:
    """The names of everything that was dropped and rebuilt."""
    return {name for table in report.plan.tables for name in table.rebuilt}


def fix_of(error: SnapseedError) -> str:
    """The SQL that an error offers as a fix."""
    said, _, statements = str(error.next_step).rpartition("SQL would fix")[2].partition(":\n")
    assert statements, said
    return statements
