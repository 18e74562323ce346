"""`snapseed init --from-database`: what it refuses, how it writes the URL, and what it prints."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapseed.errors import UsageError
from snapseed.scaffold import names as names_of_tools
from snapseed.scaffold.decide.trial import answer
from snapseed.scaffold.plan import plan_project
from snapseed.scaffold.project import ScaffoldRequest, origin_of, scaffold_project
from snapseed.scaffold.schema import read_schema
from tests.conftest import Connection, Sandbox
from tests.scaffold.conftest import Init, load, module, said

TABLE = "CREATE TABLE things (id integer PRIMARY KEY, name text NOT NULL)"


def settings_of(files: dict[str, str]) -> dict[str, object]:
    """The environment that init has written."""
    environment: dict[str, object] = tomllib.loads(files["snapseed.toml"])["environments"]["dev"]
    return environment


def test_an_unreachable_server_is_an_error_of_the_database(tmp_path: Path) -> None:
    """Exit code 4, and nothing is written."""
    shown = Sandbox(tmp_path, "").run("init", "--from-database", "postgresql://nobody@127.0.0.1:1/x", "new")
    assert shown.returncode == 4
    assert not (tmp_path / "new").exists()


def test_a_database_without_tables_is_refused(connection: Connection, database: str) -> None:
    """Views do not count, nor do the tables that snapseed itself keeps there."""
    connection.execute("CREATE SCHEMA snapseed; CREATE TABLE snapseed.loads (id integer); CREATE VIEW one AS SELECT 1")
    with pytest.raises(UsageError, match="there is no table to make rows for"):
        scaffold_project(ScaffoldRequest(database))


def test_nothing_is_changed(connection: Connection, database: str) -> None:
    """Catalogs are read, and checks are tried, in a transaction that may write nothing."""
    connection.execute(TABLE.encode())
    before = connection.execute("SELECT count(*), max(oid) FROM pg_class").fetchone()
    scaffold_project(ScaffoldRequest(database))
    assert connection.execute("SELECT count(*), max(oid) FROM pg_class").fetchone() == before


def test_a_password_is_written_nowhere(
    connection: Connection, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The URL is written without it, and still leads to the database."""
    connection.execute(TABLE.encode())
    parts = conninfo_to_dict(database)
    if "password" in parts:
        monkeypatch.setenv("PGPASSWORD", str(parts["password"]))
    url = make_conninfo(database, password="pass word'7")
    made = (
        scaffold_project(ScaffoldRequest(url))
        if "password" not in parts
        else scaffold_project(ScaffoldRequest(database))
    )
    assert "pass word" not in "".join([*made.files.values(), *made.remarks, made.heading])
    written = settings_of(dict(made.files))["database"]
    assert isinstance(written, str)
    assert "password" not in conninfo_to_dict(written)
    assert made.remarks[-1].startswith("the password is not written")
    with psycopg.connect(written) as found:
        assert found.execute("SELECT count(*) FROM things").fetchone() == (0,)
    del tmp_path


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("postgresql://app:s3cret@{host}/{name}?port={port}", "postgresql://app@{host}/{name}?port={port}"),
        ("postgresql://app:s3%40cret@{host}/{name}", "postgresql://app@{host}/{name}"),
    ],
)
def test_a_url_keeps_its_form_without_the_password(url: str, bare: str) -> None:
    """Only the password is cut out."""
    places = {"host": "db.internal", "name": "shop", "port": "5433"}
    found = origin_of(url.format(**places), url.format(**places), None)
    assert (found.url, found.lacks_password) == (bare.format(**places), True)


@pytest.mark.parametrize("setting", ["password", "sslpassword", "oauth_client_secret", "scram_client_key"])
def test_no_secret_setting_is_written(setting: str) -> None:
    """Whichever of libpq's it is."""
    url = f"postgresql://app@db.internal/shop?{setting}=s3cret%20x&sslmode=require"
    found = origin_of(url, url, None)
    assert conninfo_to_dict(found.url) == {
        "user": "app",
        "host": "db.internal",
        "dbname": "shop",
        "sslmode": "require",
    }
    assert found.lacks_password


def test_a_variable_is_written_as_such(connection: Connection, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`${NAME}` stays `${NAME}`; so does a URL with a password that is the one in DATABASE_URL."""
    connection.execute(TABLE.encode())
    monkeypatch.setenv("SHOP_URL", database)
    made = scaffold_project(ScaffoldRequest("${SHOP_URL}"))
    assert settings_of(dict(made.files))["database"] == "${SHOP_URL}"
    url = make_conninfo(database, password=conninfo_to_dict(database).get("password", "unused"))
    monkeypatch.setenv("DATABASE_URL", url)
    assert settings_of(dict(scaffold_project(ScaffoldRequest(url)).files))["database"] == "${DATABASE_URL}"


def test_a_table_that_holds_rows_is_left_out_unless_asked_for(init: Init, connection: Connection) -> None:
    """Init names these tables, and never offers the option that would replace their rows. Nor does a load need it."""
    connection.execute("CREATE TABLE others (id integer PRIMARY KEY)")
    connection.execute("INSERT INTO others VALUES (7)")
    needs = "CREATE TABLE needs (id integer PRIMARY KEY, other integer NOT NULL REFERENCES others)"
    project = init(f"{TABLE}; {needs}")
    assert "left out: others: it holds 1 row\n" in said(project)
    assert "left out: needs: it needs rows of others: add --keep-rows others\n" in said(project)
    assert "--yes" not in said(project)
    load(project)
    assert connection.execute("TABLE others").fetchall() == [(7,)]


def test_tables_that_hold_rows_can_be_included(init: Init, connection: Connection) -> None:
    """They get generators like all others. A load then asks before it replaces the rows."""
    connection.execute("CREATE TABLE others (id integer PRIMARY KEY)")
    connection.execute("INSERT INTO others VALUES (7)")
    project = init(TABLE, "--include-filled")
    assert "a load would replace the rows now in these tables: others\n" in said(project)
    assert "--yes" not in said(project)
    assert "snapseed generate && snapseed load" in (project.folder / "snapseed.toml").read_text().partition("\n")[0]
    project.run("generate", check=True)
    assert project.run("load", "dev").returncode == 3
    project.run("load", "dev", "--yes", check=True)


def test_tables_of_tools_are_left_out(init: Init, connection: Connection) -> None:
    """Those in which tools for migrations and frameworks keep their records, however their names are written."""
    names = tomllib.loads((Path(names_of_tools.__file__).parent / "names.toml").read_text())["bookkeeping"]
    places = [name.rpartition(".") for tool in names.values() for name in tool]
    tables = [(schema or "public", table) for schema, _, table in places] + [("public", "DATABASECHANGELOG")]
    for schema, table in tables:
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        create = "CREATE TABLE {0} (version varchar PRIMARY KEY); INSERT INTO {0} VALUES ('20240101')"
        connection.execute(sql.SQL(create).format(sql.Identifier(schema, table)))
    birds = "CREATE TABLE bird_migrations (id integer PRIMARY KEY); CREATE TABLE version (id integer PRIMARY KEY)"
    project = init(f"{TABLE}; {birds}; CREATE TABLE rights (id varchar PRIMARY KEY REFERENCES auth_permission)")
    written = {path.stem for path in (project.folder / "generators").glob("*.py")}
    assert written - {"__init__", "words"} == {"things", "bird_migrations", "version"}
    for _, table in tables:
        assert re.search(rf"left out: (\w+\.)?{re.escape(table)}: ", said(project))
    assert "left out: rights: it needs rows of auth_permission" in said(project)
    assert "hold rows" not in said(project)


def test_a_role_reads_the_schemas_that_it_may_use(connection: Connection, database: str, server: str) -> None:
    """Tables of other schemas are ignored, and tables that need their rows are left out."""
    role = conninfo_to_dict(database)["dbname"]
    connection.execute(
        sql.SQL(
            "CREATE SCHEMA hidden; CREATE TABLE hidden.secrets (id integer PRIMARY KEY);"
            "CREATE TABLE open (id integer PRIMARY KEY, secret integer REFERENCES hidden.secrets);"
            "CREATE TABLE closed (id integer PRIMARY KEY, secret integer NOT NULL REFERENCES hidden.secrets);"
            "CREATE ROLE {} LOGIN PASSWORD 'unused'"
        ).format(sql.Identifier(str(role)))
    )
    try:
        with psycopg.connect(database) as other:
            other.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(str(role))))
            plan = plan_project(read_schema(other), partial(answer, other))
    finally:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(str(role))))
    assert [entity.name for entity in plan.entities] == ["open_"]
    assert list(plan.left_out) == ["closed"]
    del server


def test_other_schemas_are_named(init: Init, connection: Connection) -> None:
    """A table outside of the search path has its schema in the declaration; two of a name get different modules."""
    project = init(
        "CREATE SCHEMA sales; CREATE TABLE orders (id integer PRIMARY KEY); CREATE TABLE sales.orders"
        " (id integer PRIMARY KEY, original integer NOT NULL REFERENCES public.orders)"
    )
    assert 'schema="sales"' in module(project, "sales_orders")
    load(project)
    assert connection.execute("SELECT count(*) > 0 FROM sales.orders").fetchone() == (True,)


@pytest.mark.parametrize("library", ["rstr", "sqlglot"])
def test_a_missing_library_is_named_with_the_extra_that_has_it(library: str, tmp_path: Path) -> None:
    """Exit code 2, before a server is asked anything, and nothing is written."""
    program = f"import sys; sys.modules[{library!r}] = None; from snapseed.cli import main; main()"
    url = "postgresql://nobody@127.0.0.1:1/x"
    shown = subprocess.run(
        [sys.executable, "-c", program, "init", "--from-database", url, str(tmp_path / "new")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 2, shown.stderr
    assert f"no package {library}" in shown.stderr
    assert "snapseed[init]" in shown.stderr
    assert not (tmp_path / "new").exists()
