"""Choose subsets in tests: from tables made by SQL in a transaction that is rolled back, or from a whole database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from psycopg import sql

from snapseed import find_project
from snapseed.capture.prepare import prepare
from snapseed.capture.request import CaptureRequest, subset_request
from snapseed.capture.subset.graph import SubsetTable
from snapseed.capture.subset.plan import SubsetPlan, SubsetReport, choose_rows, subset_report
from snapseed.config.settings import CaptureTable
from snapseed.events import notes_to
from snapseed.postgres.connect import Session, opened, target_of
from snapseed.postgres.rowhash import row_order

PROJECT = find_project(Path(__file__).parents[3] / "tests" / "projects" / "shop")


@dataclass(frozen=True)
class Options:
    """The options of a subset as the command line has them, and the table `[capture]` as TOML has it."""

    root: str | None = None
    rows: int | None = None
    sample: int | None = None
    where: Sequence[str] = ()
    capture: Mapping[str, object] = field(default_factory=dict)
    batch_rows: int = 3


@dataclass(frozen=True)
class Chosen:
    """A subset and the connection whose transaction it was chosen in."""

    session: Session
    plan: SubsetPlan
    batch_rows: int
    notes: list[str]

    def table(self, name: str) -> SubsetTable:
        """One of the tables."""
        return next(table for table in self.plan.graph.tables if table.name == name)

    def rows(self, name: str) -> list[tuple[object, ...]]:
        """The rows of a table in the order in which they are read; values as text, where they are no numbers."""
        table, found = self.table(name), []
        forms = [
            sql.SQL("{}::int8 AS value" if column.form == "bigint" else "{}::text AS value") for column in table.columns
        ]
        names = [sql.Identifier(column.name) for column in table.columns]
        columns = sql.SQL(", ").join(form.format(name) for form, name in zip(forms, names, strict=True))
        key = table.source.key
        order = row_order(key, table.source.columns)
        for source in self.plan.sources(name, self.batch_rows):
            statement = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(columns, source, order)
            found += self.session.execute(statement).fetchall()
        return found

    @property
    def keys(self) -> dict[str, list[object]]:
        """The first value of each row, by table, without tables that have no rows."""
        found = {table.name: [row[0] for row in self.rows(table.name)] for table in self.plan.graph.tables}
        return {name: keys for name, keys in found.items() if keys}

    @property
    def reasons(self) -> dict[str, dict[str, int]]:
        """How many rows each table has for which reason."""
        found: dict[str, dict[str, int]] = {}
        for reason in self.report.reasons:
            found.setdefault(reason.table, {})[reason.reason] = reason.rows
        return found

    @property
    def report(self) -> SubsetReport:
        """The report, as if no row were an orphan."""
        return subset_report(self.plan.graph, self.plan.closure)


def choose(session: Session, options: Options) -> Chosen:
    """Choose rows from all tables of the database, in the session's transaction."""
    tables = prepare(session, CaptureRequest(), "the source").tables
    request = subset_request(options.root, options.rows, options.sample, options.where)
    assert request is not None
    notes: list[str] = []
    project = replace(PROJECT, capture=msgspec.convert(options.capture, CaptureTable))
    plan = choose_rows(session, tables, project, request, notes_to(notes.append), options.batch_rows)
    return Chosen(session, plan, options.batch_rows, notes)


@contextmanager
def chosen(session: Session, schema: str, options: Options) -> Iterator[Chosen]:
    """Run SQL, choose rows, and take everything back."""
    with session.transaction(force_rollback=True):
        session.execute("SET LOCAL search_path TO public")
        session.execute(schema.encode())
        session.execute("SET LOCAL search_path TO pg_catalog, pg_temp")
        yield choose(session, options)


@contextmanager
def session_with(url: str) -> Iterator[Session]:
    """A connection with our settings."""
    with opened(target_of(url, "the test's database")) as session:
        yield session
