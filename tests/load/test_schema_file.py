"""The schema file runs as it is, also one of pg_dump; what cannot run is named with its line, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from snapseed import SnapseedError, load_snapshot, verify_snapshot
from snapseed.errors import ConfigurationError, LoadError, SchemaError
from tests.conftest import Sandbox, new_database
from tests.projects.state import contents, dumped_by_pg_dump, generated, schema_of


def schema_file(sandbox: Sandbox) -> Path:
    """The project's schema file."""
    assert sandbox.project.schema is not None
    return sandbox.project.schema


def refused(sandbox: Sandbox, text: str) -> SnapseedError:
    """The error of a load with this schema file, which must have changed nothing."""
    schema_file(sandbox).write_text(text, encoding="utf-8")
    with sandbox.connect() as connection:
        before = contents(connection)
        with pytest.raises(SnapseedError) as caught:
            load_snapshot(sandbox.project, sandbox.environment())
        assert contents(connection) == before
    return caught.value


@pytest.mark.parametrize("project", ["kinds", "example"])
def test_a_schema_file_of_pg_dump_gives_the_same_schema(
    server: str, make_project: Callable[[str], Sandbox], project: str
) -> None:
    """With owners and privileges, and lines that psql alone obeys. The load keeps its own settings and search path."""
    sandbox = generated(make_project(project), 20)
    load_snapshot(sandbox.project, sandbox.environment(create_schema=True))
    with sandbox.connect() as connection:
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO pg_monitor")
    schema_file(sandbox).write_text(dumped := dumped_by_pg_dump(sandbox.url, "--schema-only"))
    for line in (
        "\\restrict ",
        "\\unrestrict ",
        "SELECT pg_catalog.set_config('search_path', '', false)",
        " OWNER TO ",
    ):
        assert line in dumped
    with new_database(server) as url:
        copy = Sandbox(sandbox.folder, url)
        assert load_snapshot(copy.project, copy.environment(create_schema=True)).schema_created
        assert verify_snapshot(copy.project, copy.environment()).agrees
        assert schema_of(url) == schema_of(sandbox.url)


# What a file holds besides the tables, which kind of error that is, what it quotes, and what it advises.
REFUSED = {
    "rows": ("COPY public.t (a, b) FROM stdin;\n1\tx\n\\.\n", ConfigurationError, "COPY public.t", "--schema-only"),
    "a command of psql": ("\\connect other\n", ConfigurationError, "\\connect other", "remove the line"),
    "no such owner": ("ALTER TYPE kind OWNER TO missing_one;\n", LoadError, "missing_one", "--no-owner"),
    "nobody to grant to": ("GRANT SELECT ON t TO missing_one;\n", LoadError, "missing_one", "--no-privileges"),
    "nobody to revoke from": ('REVOKE ALL ON t FROM "missing one";\n', LoadError, "missing one", "--no-privileges"),
    "nobody for defaults": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE missing_one GRANT SELECT ON TABLES TO PUBLIC;\n",
        *(LoadError, "missing_one", "--no-privileges"),
    ),
    "an unknown type": ("CREATE TABLE two (id nonsense);\n", LoadError, "nonsense", ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_run_is_named_with_its_line(shop: Sandbox, case: str) -> None:
    """The third line, and the file is not repeated."""
    statement, kind, quoted, advice = REFUSED[case]
    error = refused(
        shop, f"CREATE TYPE kind AS ENUM ('a');\nCREATE TABLE t (a int, b kind);\n{statement}SELECT 'end';\n"
    )
    assert isinstance(error, kind)
    assert error.where == f"{schema_file(shop)}, line 3"
    assert quoted in (error.observed or "")
    assert advice in (error.next_step or "")
    assert "CREATE" not in str(error)


def test_all_roles_that_a_dump_needs_are_named_at_once(server: str, shop: Sandbox) -> None:
    """Owners, grantees, those of default privileges and of policies, but no words in a function."""
    roles = ["an owner", "a_reader", "a_giver", "a_taker", "a_subject"]
    names = [f'"{role}"' for role in roles]
    owner, reader, giver, taker, subject = names
    with new_database(server) as url, Sandbox(shop.folder, url).connect() as connection:
        try:
            for name in names:
                connection.execute(f"CREATE ROLE {name}".encode())
            connection.execute(
                f"""
                CREATE TABLE t (id int); ALTER TABLE t OWNER TO {owner}; GRANT SELECT ON t TO PUBLIC;
                GRANT SELECT ON t TO {reader} WITH GRANT OPTION; CREATE POLICY p ON t TO {subject}, CURRENT_USER;
                ALTER DEFAULT PRIVILEGES FOR ROLE {giver} IN SCHEMA public GRANT SELECT ON TABLES TO {taker};
                CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS 'BEGIN
GRANT SELECT ON t TO nobody_there;
ALTER TABLE t OWNER TO nobody_there;
END';
                """.encode()
            )
            dumped = dumped_by_pg_dump(url, "--schema-only")
        finally:
            for name in names:
                connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())
    error = refused(shop, dumped)
    assert isinstance(error, SchemaError)
    assert "--no-owner" in (error.next_step or "")
    for role in roles:
        assert f"there is no role {role}, which" in (error.observed or "")
    assert (
        (error.observed or "").count("there is no role") == (error.next_step or "").count("CREATE ROLE") == len(roles)
    )


def test_words_that_only_look_like_those_of_pg_dump_stay(shop: Sandbox) -> None:
    """A backslash inside a text, COPY inside a comment, a setting for a function, a byte order mark."""
    more = r"""
        -- COPY t FROM stdin;
        COMMENT ON TABLE customers IS 'one
\two';
        CREATE FUNCTION nothing() RETURNS void LANGUAGE sql SET statement_timeout = 0 AS '';
    """
    schema = schema_file(shop)
    schema.write_text(schema.read_text(encoding="utf-8") + more, encoding="utf-8-sig")
    load_snapshot(shop.project, shop.environment())
    with shop.connect() as connection:
        comment = connection.execute("SELECT obj_description('customers'::regclass)").fetchone()
        assert comment == ("one\n\\two",)
        assert connection.execute("SELECT proconfig::text FROM pg_proc WHERE proname = 'nothing'").fetchone() == (
            "{statement_timeout=0}",
        )


@pytest.mark.parametrize("statement", ["COMMIT;", "ROLLBACK;", "COMMIT; BEGIN;", "BEGIN;", "END;"])
def test_a_schema_file_cannot_end_the_transaction(shop: Sandbox, statement: str) -> None:
    """A COMMIT in the schema file is refused before it commits: the tables above it do not exist afterwards."""
    error = refused(shop, schema_file(shop).read_text(encoding="utf-8") + "\n" + statement)
    assert isinstance(error, ConfigurationError)
    assert "transaction" in error.summary
    assert "schema.sql" in str(error)
