"""`--recreate` and `db drop`: all or nothing, and only what a load may lose."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from snapseed.errors import RefusedError, ServerError, UsageError
from snapseed.load.recreate import drop_database
from tests.load.shapes import Shapes

_OID = "SELECT 'public.people'::regclass::oid::text"
_PUBLIC = "SELECT nspowner::regrole::text, nspacl::text FROM pg_namespace WHERE nspname = 'public'"


def test_everything_is_dropped_and_comes_back(shapes: Shapes) -> None:
    """Tables with another shape, in any schema and with other objects; `public` keeps its owner and privileges."""
    shapes.create()
    shapes.load()
    shapes.execute(
        "ALTER TABLE people DROP COLUMN team CASCADE; CREATE SCHEMA other; CREATE TABLE other.empty (n int);"
        " CREATE TYPE mood AS ENUM ('ok'); GRANT CREATE ON SCHEMA public TO pg_monitor"
    )
    public = shapes.execute(_PUBLIC)
    report = shapes.load(recreate=True, create_schema=True, agrees=True)
    assert report.plan.recreate
    assert [str(table) for table in report.plan.dropped] == ["other.empty"]
    assert report.schema_created
    assert shapes.one("SELECT to_regclass('other.empty') IS NULL AND to_regtype('mood') IS NULL")
    assert shapes.execute(_PUBLIC) == public
    assert shapes.one("SELECT count(*) FROM snapseed.loads") == 2


def test_a_dry_run_drops_nothing(shapes: Shapes) -> None:
    """The plan says it; the tables are the same ones."""
    shapes.create()
    shapes.load()
    before = shapes.one(_OID)
    assert shapes.load(recreate=True, create_schema=True, dry_run=True).plan.recreate
    assert shapes.one(_OID) == before


FOREIGN = {
    "added to a loaded table": "INSERT INTO teams VALUES ('mine', 'x', NULL)",
    "in another table": "CREATE TABLE notes AS SELECT 1 AS n",
    "in another schema": "CREATE SCHEMA other; CREATE TABLE other.notes AS SELECT 1 AS n",
    "in a partition": "CREATE TABLE notes (n int) PARTITION BY LIST (n); CREATE TABLE one PARTITION OF notes DEFAULT;"
    " INSERT INTO notes VALUES (1)",
}


@pytest.mark.parametrize("statement", FOREIGN.values(), ids=FOREIGN)
def test_rows_that_no_load_wrote_need_consent(shapes: Shapes, statement: str) -> None:
    """In every table of the database, for the load and for the drop."""
    shapes.create()
    shapes.load()
    shapes.execute(statement)
    assert isinstance(shapes.refused(recreate=True, create_schema=True), RefusedError)
    with pytest.raises(RefusedError):
        drop_database(shapes.project, shapes.environment())
    shapes.load(recreate=True, create_schema=True, consent=True, agrees=True)


def test_a_failure_leaves_the_old_tables(shapes: Shapes, tmp_path: Path) -> None:
    """Also one after the drop, in the new schema file."""
    shapes.create()
    shapes.load()
    copy = Shapes(shutil.copytree(shapes.folder, tmp_path / "project"), shapes.url)
    assert copy.project.schema is not None
    copy.project.schema.write_text("CREATE TABLE teams (wrong int);")
    copy.refused(recreate=True, create_schema=True)


@pytest.mark.parametrize("options", [{"only": ("teams",)}, {"mode": "append"}, {"if_changed": True}], ids=str)
def test_only_a_whole_load_recreates(shapes: Shapes, options: dict[str, object]) -> None:
    """All tables are dropped, so all have to be loaded."""
    shapes.create()
    with pytest.raises(UsageError):
        shapes.load(recreate=True, create_schema=True, **options)  # type: ignore[arg-type]


def test_without_a_schema_file_nothing_is_dropped(shapes: Shapes) -> None:
    """Migrations create the tables then."""
    shapes.create()
    with pytest.raises(UsageError):
        shapes.load(recreate=True, create_schema=False)
    assert shapes.one(_OID)


def test_a_database_is_dropped_unless_others_use_it(server: str, shapes: Shapes) -> None:
    """The error names the sessions."""
    shapes.execute("CREATE DATABASE snapseed_to_drop")
    url = make_conninfo(server, dbname="snapseed_to_drop")
    environment = shapes.environment(None, database=url)
    with psycopg.connect(url, application_name="somebody"), pytest.raises(ServerError) as caught:
        drop_database(shapes.project, environment)
    assert "somebody" in str(caught.value.observed)
    assert drop_database(shapes.project, environment) == "snapseed_to_drop"
    assert shapes.execute("SELECT FROM pg_database WHERE datname = 'snapseed_to_drop'") == []


@pytest.mark.parametrize("use", ["drop", "load"])
def test_the_maintenance_database_stays(server: str, shapes: Shapes, use: str) -> None:
    """Even with consent, and even if it is empty."""
    url = make_conninfo(server, dbname="postgres")
    actions: dict[str, Callable[[], object]] = {
        "drop": lambda: drop_database(shapes.project, shapes.environment(None, database=url), consent=True),
        "load": lambda: shapes.load(recreate=True, create_schema=True, consent=True, database=url),
    }
    with pytest.raises(RefusedError):
        actions[use]()


def test_a_name_like_production_is_refused(server: str, shapes: Shapes) -> None:
    """By the guards of a load."""
    shapes.execute("CREATE DATABASE snapseed_prod_copy")
    try:
        with pytest.raises(RefusedError):
            drop_database(
                shapes.project, shapes.environment(None, database=make_conninfo(server, dbname="snapseed_prod_copy"))
            )
    finally:
        shapes.execute("DROP DATABASE snapseed_prod_copy")
