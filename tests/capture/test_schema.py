"""The schema that a capture carries: every kind of object, no secrets, always the same text, and the server runs it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from snapseed.capture.schema import dump_schema, find_pg_dump
from snapseed.errors import ConfigurationError, LoadError, SchemaError, ServerError, SnapseedError
from snapseed.load.schema_file import Schema, apply_schema
from snapseed.postgres.connect import connected, target_of
from snapseed.postgres.dump import UNFILLED
from snapseed.postgres.failures import translated
from snapseed.postgres.locks import reading
from tests.conftest import Connection, new_database
from tests.projects.state import schema_of

EVERYTHING = Path(__file__).with_name("everything.sql").read_text(encoding="utf-8")
# What acts from outside or holds secrets, and the role of a policy.
OUTSIDE = """
CREATE EVENT TRIGGER noticed ON ddl_command_end EXECUTE FUNCTION app.noticed();
ALTER EVENT TRIGGER noticed DISABLE;
COMMENT ON EVENT TRIGGER noticed IS 'noticed';
CREATE PUBLICATION pub FOR TABLE app.tree, app.base;
COMMENT ON PUBLICATION pub IS 'pub';
CREATE SUBSCRIPTION sub CONNECTION 'host=far password=geheim' PUBLICATION far WITH (connect = false, slot_name = NONE);
COMMENT ON SUBSCRIPTION sub IS 'sub';
CREATE FOREIGN DATA WRAPPER wrapper OPTIONS (dbpassword 'geheim');
CREATE SERVER far FOREIGN DATA WRAPPER wrapper OPTIONS (host 'far', "Api_Key" E'geheim''\\\\x');
CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'me', password 'geheim');
CREATE FOREIGN TABLE app.far (id integer OPTIONS (access_token 'geheim')) SERVER far OPTIONS (secret 'geheim');
"""


ROLES = ('one "role"', "another")


@contextmanager
def role_in(url: str) -> Iterator[tuple[str, str, Connection]]:
    """A role without any rights, the URL of the database for it, and a connection of its owner."""
    name = f"low_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        try:
            yield name, make_conninfo(url, user=name), owner
        finally:
            owner.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


def dumped(url: str) -> tuple[str, tuple[str, ...]]:
    """The schema of a database as a capture has it, and what is left out."""
    target = target_of(url, "the test")
    with reading(target, "reading the schema") as session:
        schema, left_out = dump_schema(session, target)
    return schema.decode(), left_out


def applied(url: str, text: str, server: int | None = None) -> list[str]:
    """Run a schema in a database; returns the extensions that were left out."""
    target = target_of(url, "the test")
    with translated("the test", url), connected(target) as session, session.transaction():
        return apply_schema(session, Schema("schema.sql", text, server))


@pytest.fixture(scope="module")
def source(server: str) -> Iterator[str]:
    """A database with everything, which no test changes."""
    with new_database(server) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(EVERYTHING.encode())
            connection.execute(OUTSIDE.encode())
        yield url
        with psycopg.connect(url, autocommit=True) as connection:
            # Otherwise the database could not be dropped.
            connection.execute("DROP SUBSCRIPTION sub")


def test_the_schema_gives_the_same_schema(source: str, database: str, server: str) -> None:
    """And what is left out of it is named: what acts from outside, or on the load's own changes of tables."""
    schema, left_out = dumped(source)
    outside = ["event trigger noticed", "publication pub", "subscription sub", "user mapping public SERVER far"]
    assert sorted(left_out) == outside
    applied(database, schema)
    # Until the rows are in, no materialized view has data.
    again, left_out = dumped(database)
    assert (again.replace(UNFILLED, ""), left_out) == (schema.replace(UNFILLED, ""), ())
    # As pg_dump itself says it, without what was left out. A copy has no subscription.
    with new_database(server, source) as copy:
        without = "DROP EVENT TRIGGER noticed; DROP PUBLICATION pub; DROP USER MAPPING FOR PUBLIC SERVER far"
        with psycopg.connect(copy, autocommit=True) as connection:
            connection.execute(without)
        assert "geheim" in schema_of(copy)
        assert schema_of(database) == re.sub("E?'geheim.*'", "''", schema_of(copy))


def test_no_secret_is_in_the_schema(source: str) -> None:
    """Of foreign servers, user mappings and foreign tables."""
    schema, _ = dumped(source)
    assert "geheim" not in schema
    assert "host 'far'" in schema


def test_a_role_that_may_only_select_can_read_the_schema(source: str) -> None:
    """One that may not is told what it lacks."""
    with role_in(source) as (role, url, owner):
        with pytest.raises(ConfigurationError) as caught:
            dumped(url)
        *grants, otherwise = (caught.value.next_step or "").split("\n")
        assert "--without-schema" in otherwise
        assert f"GRANT SELECT ON app.events_rest_all TO {role};" in grants
        for grant in grants:
            owner.execute(grant.encode())
        assert dumped(url)[0] == dumped(source)[0]


def test_everything_that_the_server_lacks_is_named_at_once(connection: Connection, database: str) -> None:
    """Extensions, and the roles of policies, before anything is created; what is only mentioned is no matter."""
    roles = sql.SQL(", ").join(map(sql.Identifier, ROLES))
    for statement in ("CREATE ROLE {0}", "CREATE ROLE {1}"):
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, ROLES)))
    connection.execute("CREATE TABLE t (id integer)")
    connection.execute(sql.SQL("CREATE POLICY {} ON t FOR SELECT TO {}").format(sql.Identifier("a TO b"), roles))
    connection.execute("COMMENT ON TABLE t IS 'CREATE EXTENSION nothing; CREATE POLICY a ON t TO nobody'")
    schema, _ = dumped(database)
    connection.execute("DROP TABLE t")
    connection.execute(sql.SQL("DROP ROLE {}").format(roles))
    needed = "".join(
        f"--\n-- Name: {name}; Type: EXTENSION; Schema: -; Owner: -\n--\n\nCREATE EXTENSION {name};\n\n\n"
        for name in ("no_such", "nor_this")
    )
    with pytest.raises(SchemaError) as caught:
        applied(database, needed + schema)
    error = caught.value
    for name in (*ROLES, "no_such", "nor_this"):
        assert name in (error.observed or "")
    fixes = [line for line in (error.next_step or "").splitlines() if line.startswith("CREATE ROLE")]
    for fix in fixes:
        connection.execute(fix.encode())
    applied(database, schema)
    assert dumped(database)[0] == schema
    connection.execute("DROP TABLE t")
    connection.execute(sql.SQL("DROP ROLE {}").format(roles))


def test_a_snapshot_decides_what_is_seen(connection: Connection, database: str) -> None:
    """A table that is made after the snapshot was taken is not in the schema."""
    target = target_of(database, "the test")
    with reading(target, "reading the schema") as session:
        session.execute("SELECT 1")
        connection.execute("CREATE TABLE later (id integer)")
        schema, _ = dump_schema(session, target)
    assert b"later" not in schema


def test_a_locked_table_ends_the_wait(connection: Connection, database: str) -> None:
    """After the lock timeout, as an error of the server."""
    connection.execute("CREATE TABLE t (id integer)")
    target = replace(target_of(database, "the test"), lock_timeout="10ms")
    with reading(target, "reading the schema") as session, connection.transaction():
        session.execute("SELECT 1")
        connection.execute("LOCK TABLE t")
        with pytest.raises(ServerError) as caught:
            dump_schema(session, target)
    assert "LOCK TABLE public.t" in (caught.value.observed or "")


@pytest.mark.parametrize("setting", ["quote_all_identifiers = on", "datestyle = German"])
def test_the_settings_of_a_database_change_nothing(connection: Connection, database: str, setting: str) -> None:
    """How names and values are printed is pinned."""
    connection.execute("CREATE TABLE t (id integer, price money DEFAULT 1.5::money, at date DEFAULT '2024-02-03')")
    before, _ = dumped(database)
    connection.execute(f"ALTER DATABASE {connection.info.dbname} SET {setting}".encode())
    assert dumped(database)[0] == before


def test_a_pg_dump_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the version that is needed."""
    (tmp_path / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.1'\n")
    (tmp_path / "pg_dump").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ConfigurationError) as caught:
        find_pg_dump(99)
    assert "9.6.1" in (caught.value.observed or "")
    assert "99" in (caught.value.expected or "")
    (tmp_path / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 99beta1'\n")
    assert find_pg_dump(99) == str(tmp_path / "pg_dump")


def test_compression_that_the_server_lacks_is_left_out(connection: Connection, database: str) -> None:
    """It changes how values are stored, not what they are."""
    column = "ALTER TABLE ONLY public.t ALTER COLUMN a SET COMPRESSION lz4;"
    applied(database, f"CREATE TABLE public.t (a text);\n{column}\nCOMMENT ON TABLE public.t IS 'x\n  {column}';\n")
    has = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
    stored = "SELECT attcompression = 'l' FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'a'"
    assert connection.execute(stored).fetchone() == connection.execute(has).fetchone()
    assert connection.execute("SELECT obj_description('t'::regclass)").fetchone() == (f"x\n  {column}",)


def test_the_error_of_an_older_server_says_which_one_is_needed(database: str) -> None:
    """What it does not understand is likely to be new."""
    with pytest.raises(LoadError) as caught:
        applied(database, "CREATE NOVELTY n;", server=99)
    assert "99" in (caught.value.next_step or "")


def test_extensions_that_the_role_may_not_create_are_all_named(database: str) -> None:
    """As SQL for a superuser."""
    entry = "--\n-- Name: {0}; Type: EXTENSION; Schema: -; Owner: -\n--\n\nCREATE EXTENSION IF NOT EXISTS {0};\n\n\n"
    with psycopg.connect(database) as connection:
        query = "SELECT name FROM pg_available_extensions WHERE installed_version IS NULL ORDER BY 1 LIMIT 2"
        names = [str(name) for (name,) in connection.execute(query).fetchall()]
    with role_in(database) as (_, url, _), pytest.raises(SnapseedError) as caught:
        applied(url, "".join(map(entry.format, names)))
    for name in names:
        assert f'CREATE EXTENSION IF NOT EXISTS "{name}";' in (caught.value.next_step or "")


# Statements, and whether they use an extension of functions alone.
USES = {
    "a default": ("CREATE TABLE t (id uuid DEFAULT uuid_generate_v4())", True),
    "a word in a function": (
        "CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN uuid_nil(); END'",
        True,
    ),
    "none": ("CREATE TABLE t (id uuid DEFAULT gen_random_uuid())", False),
}


@pytest.mark.parametrize("case", USES)
def test_an_extension_that_nothing_uses_may_be_lacking(connection: Connection, database: str, case: str) -> None:
    """Such as those that watch a server. One that is used may not."""
    try:
        connection.execute('CREATE EXTENSION "uuid-ossp"')
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("the server has no extension uuid-ossp")
    statement, is_used = USES[case]
    connection.execute(statement.encode())
    schema = dumped(database)[0].replace("uuid-ossp", "no-such")
    connection.execute('DROP EXTENSION "uuid-ossp" CASCADE; DROP TABLE IF EXISTS t; DROP FUNCTION IF EXISTS f')
    if is_used:
        with pytest.raises(SchemaError) as caught:
            applied(database, schema)
        assert "no-such" in (caught.value.observed or "")
    else:
        assert applied(database, schema) == ["no-such"]
        assert connection.execute("SELECT to_regclass('t') IS NOT NULL").fetchone() == (True,)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE public.t ()",
        "CREATE SCHEMA s",
        "CREATE TYPE public.e AS ENUM ()",
        "CREATE DOMAIN public.d AS text",
    ],
)
def test_what_is_there_already_needs_an_empty_database(database: str, statement: str) -> None:
    """Though none of the snapshot's tables is."""
    applied(database, statement)
    with pytest.raises(LoadError) as caught:
        applied(database, statement)
    assert "--recreate" in (caught.value.next_step or "")
