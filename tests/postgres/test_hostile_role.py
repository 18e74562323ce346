"""Another role that may create objects in the database runs nothing as us, and its records are not believed."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from snapseed import LoadRequest, load_snapshot, verify_snapshot
from snapseed.errors import RefusedError
from snapseed.load.outcome import Outcome
from snapseed.load.request import Mode
from snapseed.scaffold.project import ScaffoldRequest, scaffold_project
from snapseed.testing.reset import reset_environment
from snapseed.verify.status import status
from tests.conftest import Connection, Sandbox
from tests.differences import diff_snapshot

QUERIES = Path(__file__).parents[2] / "snapseed"
TYPES = ("name", "text", "varchar", '"char"', "oid", "int8", "bool", "text[]")
OPERATORS = ("=", "<>", "||", "<", "<=", ">", ">=", "->", "->>", "@>", "-", "+")
ARGUMENTS = ("", *TYPES, *map(", ".join, product(("name", "text", "varchar", "oid", "text[]"), repeat=2)))
PLANT = """
DO $plant$
DECLARE
  body text := ' RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE ''a trap, as %%'', current_user; END $$';
  place text; name text; left_type text; right_type text;
BEGIN
  CREATE SCHEMA IF NOT EXISTS postgres;
  FOREACH place IN ARRAY ARRAY['postgres', 'public'] LOOP
    FOREACH name IN ARRAY {}::text[] LOOP
      FOREACH left_type IN ARRAY {}::text[] LOOP
        BEGIN
          EXECUTE format('CREATE FUNCTION %I.%I(%s)' || body, place, name, left_type);
        EXCEPTION WHEN OTHERS THEN  -- it cannot exist
        END;
      END LOOP;
    END LOOP;
    FOREACH name IN ARRAY {}::text[] LOOP
      FOR left_type, right_type IN
        SELECT l, r FROM pg_catalog.unnest({types}::text[]) l, pg_catalog.unnest({types}::text[]) r LOOP
        BEGIN
          EXECUTE format('CREATE OR REPLACE FUNCTION %I.trap(%s, %s)' || body, place, left_type, right_type);
          EXECUTE format('CREATE OPERATOR %I.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %I.trap)', place, name,
                         left_type, right_type, place);
        EXCEPTION WHEN OTHERS THEN
        END;
      END LOOP;
    END LOOP;
  END LOOP;
END $plant$
"""


@dataclass(frozen=True)
class Hostile:
    """A role without any privilege but CREATE, and a connection as that role."""

    name: str
    connection: Connection

    def plant(self) -> None:
        """Everything that our SQL could mistake for the server's own, in each schema of the search path.

        Each fails when it is called, so its caller fails too.
        """
        functions = {name for file in QUERIES.rglob("*.sql") for name in re.findall(r"\b([a-z_]+)\(", file.read_text())}
        functions |= {
            "set_config",
            "current_setting",
            "sum",
            "unnest",
            "convert_to",
            "width_bucket",
            "hash_record_extended",
        }
        values = map(sql.Literal, (sorted(functions), list(ARGUMENTS), list(OPERATORS)))
        self.connection.execute(sql.SQL(PLANT).format(*values, types=sql.Literal(list(TYPES))))


@pytest.fixture
def hostile(shop: Sandbox) -> Iterator[Hostile]:
    """A role that may create schemas in the database and objects in `public`."""
    name = f"low_{uuid.uuid4().hex[:8]}"
    role = sql.Identifier(name)
    with shop.connect() as admin:
        database = sql.Identifier(admin.info.dbname)
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, role))
        admin.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(role))
    try:
        with closing(psycopg.connect(f"{shop.url} user={name}", autocommit=True)) as connection:
            yield Hostile(name, connection)
    finally:
        # Another connection: a reset ends all sessions.
        with shop.connect() as admin:
            admin.execute(sql.SQL("DROP OWNED BY {} CASCADE; DROP ROLE {}").format(role, role))


def test_nothing_that_others_planted_runs_as_us(shop: Sandbox, hostile: Hostile) -> None:
    """Operators and functions that fit our SQL better than the server's own, in all schemas of the search path."""
    project, environment = shop.project, shop.environment()
    load_snapshot(project, environment)
    with shop.connect() as connection:
        connection.execute("CREATE INDEX ON public.customers (pg_catalog.lower(name)) WHERE name IS NOT NULL")
    hostile.plant()
    with shop.connect() as connection, pytest.raises(psycopg.errors.RaiseException, match="a trap, as"):
        connection.execute("SELECT name::varchar = 'x'::varchar FROM public.customers")
    for mode in (Mode.REPLACE, Mode.UPSERT):
        load_snapshot(project, environment, LoadRequest(mode=mode))
    assert load_snapshot(project, environment, LoadRequest(if_changed=True)).already_loaded is False
    load_snapshot(project, environment)
    assert load_snapshot(project, environment, LoadRequest(if_changed=True)).already_loaded
    assert verify_snapshot(project, environment).agrees
    with shop.connect() as connection:
        connection.execute("UPDATE public.customers SET name = pg_catalog.upper(name)")
    assert not diff_snapshot(project, environment).agrees
    reset_environment(project, environment)
    report = reset_environment(project, environment)
    assert scaffold_project(ScaffoldRequest(shop.url, include_filled=True)).files
    with shop.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(report.template)))


# What somebody may have done to our table, and what the refusal says of it.
TAMPERED = {
    "a trigger": "CREATE TRIGGER t BEFORE INSERT ON loads FOR EACH ROW EXECUTE FUNCTION trap()",
    "a rule": "CREATE RULE r AS ON INSERT TO loads DO ALSO SELECT trapped()",
    "a default": "ALTER TABLE loads ALTER seed SET DEFAULT trapped()::int",
    "the default of a role": "ALTER TABLE loads ALTER role SET DEFAULT trapped()::text",
    "another column": "ALTER TABLE loads ADD more boolean DEFAULT trapped_too(1)",
    "a domain": "CREATE DOMAIN d AS int CHECK (trapped_too(1)); ALTER TABLE loads ADD more d",
    "a check": "ALTER TABLE loads ADD CHECK (trapped()) NOT VALID",
    "an index": "CREATE INDEX ON loads (trapped_too(id))",
    "a condition": "CREATE INDEX ON loads (id) WHERE trapped_too(id)",
    "row-level security": "ALTER TABLE loads ENABLE ROW LEVEL SECURITY",
    "a view": "ALTER TABLE loads RENAME TO kept; CREATE VIEW loads AS SELECT * FROM kept WHERE trapped_too(id)",
    "inheritance": "CREATE TABLE child () INHERITS (loads)",
    "another owner": "ALTER TABLE loads OWNER TO {}",
    "another owner of the schema": "ALTER SCHEMA snapseed OWNER TO {}",
}
TRAPS = """
CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''a trap''; END';
CREATE FUNCTION trapped() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''a trap''; END';
CREATE FUNCTION trapped_too(bigint) RETURNS boolean IMMUTABLE LANGUAGE plpgsql
  AS 'BEGIN IF current_setting(''test.armed'', true) = ''on'' THEN RAISE ''a trap''; END IF; RETURN true; END';
"""


@pytest.mark.parametrize("deed", TAMPERED)
def test_records_that_others_could_have_written_are_not_believed(shop: Sandbox, hostile: Hostile, deed: str) -> None:
    """Neither read nor written: a load is refused, with nothing run and nothing changed, and status says so."""
    load_snapshot(shop.project, shop.environment())
    with shop.connect() as connection:
        connection.execute("SET search_path TO snapseed")
        connection.execute(TRAPS)
        connection.execute(sql.SQL(TAMPERED[deed]).format(sql.Identifier(hostile.name)))
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET test.armed = 'on'").format(name))
    for request in (LoadRequest(), LoadRequest(mode=Mode.APPEND, consent=True), LoadRequest(if_changed=True)):
        with pytest.raises(RefusedError) as caught:
            load_snapshot(shop.project, shop.environment(), request)
        assert caught.value.where == "snapseed.loads"
    file = shop.folder / "snapseed.toml"
    file.write_text(file.read_text().replace("${SHOP_DATABASE:-embedded}", shop.url))
    (found,) = status(shop.project, ["dev"])
    assert (found.loaded, found.state) == (None, "the records of loads in this database cannot be trusted")


def test_a_schema_that_others_made_gets_no_table_of_ours(shop: Sandbox, hostile: Hostile) -> None:
    """Its owner could put another table in the place of ours at any time. The way out is in the error."""
    hostile.connection.execute("CREATE SCHEMA snapseed; GRANT ALL ON SCHEMA snapseed TO PUBLIC")
    with pytest.raises(RefusedError) as caught:
        load_snapshot(shop.project, shop.environment())
    assert hostile.name in str(caught.value.observed)
    with shop.connect() as connection:
        connection.execute("DROP SCHEMA snapseed CASCADE")
    assert load_snapshot(shop.project, shop.environment()).outcome is Outcome.COMMITTED


def test_the_owner_of_the_database_is_believed(shop: Sandbox, hostile: Hostile) -> None:
    """A superuser loads where the database's owner has loaded before."""
    with shop.connect() as connection:
        name, role = sql.Identifier(connection.info.dbname), sql.Identifier(hostile.name)
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, role))
        load_snapshot(shop.project, shop.environment(database=f"{shop.url} user={hostile.name}"))
        assert load_snapshot(shop.project, shop.environment()).outcome is Outcome.COMMITTED
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(name))
