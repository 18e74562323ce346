"""Finding a target touches nothing, passwords are never shown, and the driver's errors become ours."""

from __future__ import annotations

import uuid
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from snapseed import load_snapshot, verify_snapshot
from snapseed.errors import ConfigurationError, LoadError, ServerError
from snapseed.postgres.connect import Target, connected, for_program, target_of
from snapseed.postgres.failures import may_pass
from snapseed.postgres.locks import reading
from snapseed.servers import EmbeddedPostgres
from snapseed.servers.targets import resolve_target
from tests.conftest import Sandbox

SECRET = "correct-horse"


def test_a_target_says_where_its_url_came_from(shop: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag wins over the variable, the variable over the file; the source also names a variable in the file."""
    project = shop.project
    monkeypatch.setenv("SHOP_DATABASE", "postgresql://file/db")
    assert "from $SHOP_DATABASE" in resolve_target(project, project.environment()).source
    monkeypatch.setenv("SNAPSEED_DATABASE", "postgresql://variable/db")
    assert resolve_target(project, project.environment()).source == "SNAPSEED_DATABASE"
    flag = project.environment(None, {"database": f"postgresql://me:{SECRET}@flag/db"})
    found = resolve_target(project, flag)
    assert (found.source, found.described, found.database) == ("--database", "postgresql://me:***@flag/db", "db")


def test_the_embedded_target_is_found_without_starting_it(shop: Sandbox) -> None:
    """Resolving creates no folder; each environment has a database of its own."""
    found = resolve_target(shop.project, shop.project.environment())
    assert found.embedded is not None
    assert found.database == "snapseed_dev"
    assert not (shop.folder / ".snapseed").exists()


UNPARSED = [
    f"postgresql://me:{SECRET}@[half",
    f"nonsense password={SECRET} and=more",
    f"host=h password=half {SECRET}",
    f"host=h password='half {SECRET}",
    "postgresql://h/db?what=x",
    f"postgresql://u:100%{SECRET}@h/db",
    f"postgresql://u:my {SECRET}@h/db",
    f"postgresql://u:my\n{SECRET}@h/db",
    f"postgresql://u:p%00{SECRET}@h/db",
    f'postgresql://u:p"q"{SECRET}%00@h/db',
    f"postgresql://u:a?b/{SECRET}@h/db",
    f"mysql://u:{SECRET}@h/db",
]
# libpq would take part of the password for a host, a port or a database, and show it.
CUT_INSIDE = [
    f"postgresql://u:abc/{SECRET}@h/db",
    f"postgresql://u:12/{SECRET}@h/db",
    f"postgres://u:battery@{SECRET}@h/db?sslmode=require",
    f"postgresql://me@corp:{SECRET}@h/db",
]


@pytest.mark.parametrize("url", [*UNPARSED, *CUT_INSIDE])
def test_a_url_that_does_not_parse_is_an_error_of_the_configuration(shop: Sandbox, url: str) -> None:
    """The error says where the URL came from and what a URL looks like, and shows no password."""
    with pytest.raises(ConfigurationError, match="cannot be parsed") as caught:
        resolve_target(shop.project, shop.environment(database=url))
    words = ("%2F", "%40") if url in CUT_INSIDE else ("--database", "postgresql://USER@HOST")
    assert all(word in str(caught.value) for word in words)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:a%2Fb%40c@h/db",
        "postgresql://u:a?b#c@h/db",
        "postgresql:///db?host=/tmp&user=me@corp",
        "postgresql://h:5432/db?options=-c%20search_path%3Da/b@c",
        r"host=h password=a/b@c\ d dbname=db",
        "host=/tmp dbname=db user=me@corp",
    ],
)
def test_a_url_with_such_characters_elsewhere_is_taken(shop: Sandbox, url: str) -> None:
    """Percent-encoded, in the query, or in a string of keys and values."""
    assert resolve_target(shop.project, shop.environment(database=url)).database == "db"


@pytest.mark.parametrize("level", ["repeatable read", "serializable", "read uncommitted"])
def test_transactions_are_read_committed_whatever_the_default(shop: Sandbox, level: str) -> None:
    """After waiting for a lock, a load must see what was committed meanwhile. A transaction can ask for more."""
    with shop.connect() as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = {}").format(name, level))
    with connected(resolve_target(shop.project, shop.environment())) as connection:
        with connection.transaction():
            assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            assert connection.execute("SHOW transaction_isolation").fetchone() == ("repeatable read",)


def test_foreign_keys_are_checked_whatever_the_default(shop: Sandbox) -> None:
    """As a replica, the server fires no triggers, and so checks no foreign keys."""
    with shop.connect() as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET session_replication_role = 'replica'").format(name))
    with connected(resolve_target(shop.project, shop.environment())) as connection:
        assert connection.execute("SHOW session_replication_role").fetchone() == ("origin",)


def test_a_replication_role_that_we_may_not_change_is_an_error(shop: Sandbox) -> None:
    """Only a superuser may. Another role is told what a superuser should run."""
    role = f"plain_{uuid.uuid4().hex[:12]}"
    with shop.connect() as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        connection.execute(sql.SQL("ALTER DATABASE {} SET session_replication_role = 'replica'").format(name))
        try:
            with (
                pytest.raises(ConfigurationError, match="session_replication_role") as caught,
                connected(resolve_target(shop.project, shop.environment(database=f"{shop.url} user={role}"))),
            ):
                pass
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    assert "RESET session_replication_role" in str(caught.value)


def test_every_connection_has_the_same_session_settings(shop: Sandbox) -> None:
    """Whatever the defaults of the database are."""
    with shop.connect() as connection:
        connection.execute(
            f"ALTER DATABASE {connection.info.dbname} SET datestyle = 'German';"
            f"ALTER DATABASE {connection.info.dbname} SET intervalstyle = 'iso_8601';"
            f"ALTER DATABASE {connection.info.dbname} SET quote_all_identifiers = on;"
            f"ALTER DATABASE {connection.info.dbname} SET idle_in_transaction_session_timeout = '1min';"
            f"ALTER DATABASE {connection.info.dbname} SET idle_session_timeout = '1min';"
            f"ALTER DATABASE {connection.info.dbname} SET timezone = 'Asia/Tokyo'".encode()
        )
    with connected(resolve_target(shop.project, shop.environment())) as connection:
        row = connection.execute("SELECT timestamptz '2020-02-03 04:05 UTC'::text, interval '1 day'::text").fetchone()
        assert row == ("2020-02-03 04:05:00+00", "1 day")
        assert connection.execute("SELECT format_type('text'::regtype, NULL)").fetchone() == ("text",)
        limits = (
            "SELECT current_setting('idle_in_transaction_session_timeout'), current_setting('idle_session_timeout')"
        )
        assert connection.execute(limits).fetchone() == ("0", "0")
        assert connection.execute("SHOW application_name").fetchone() == ("snapseed",)


def test_a_database_that_takes_no_changes_is_obeyed(shop: Sandbox) -> None:
    """The load fails, says which setting it is, and nothing is changed. Reading works."""
    load_snapshot(shop.project, shop.environment())
    with shop.connect() as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
    with pytest.raises(LoadError, match="nothing was changed") as caught:
        load_snapshot(shop.project, shop.environment())
    assert "default_transaction_read_only" in (caught.value.next_step or "")
    assert verify_snapshot(shop.project, shop.environment()).agrees


def test_a_reading_connection_sees_one_moment_and_changes_nothing(shop: Sandbox) -> None:
    """What others commit meanwhile is not visible, and writing is an error."""
    with shop.connect() as other, reading(resolve_target(shop.project, shop.environment()), "reading") as connection:
        assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)
        connection.execute("SELECT FROM pg_class")
        other.execute("CREATE TABLE t ()")
        assert connection.execute("SELECT FROM pg_class WHERE relname = 't'").fetchone() is None
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), connection.transaction():
            connection.execute("CREATE TABLE u ()")


def test_a_connection_is_closed_whatever_happens(shop: Sandbox) -> None:
    """Also by an exception inside the block."""
    with pytest.raises(ZeroDivisionError), connected(resolve_target(shop.project, shop.environment())) as connection:
        raise ZeroDivisionError
    assert connection.closed


def test_a_server_that_does_not_answer_is_worth_a_retry(shop: Sandbox, tmp_path: Path) -> None:
    """No socket, no listener: exit code 4, the address, and no password."""
    for url in (f"postgresql://me:{SECRET}@127.0.0.1:1/db", f"host={tmp_path} password={SECRET}"):
        with (
            pytest.raises(ServerError, match="cannot be reached") as caught,
            connected(resolve_target(shop.project, shop.environment(database=url))),
        ):
            pass
        assert caught.value.exit_code == 4
        assert may_pass(caught.value)
        assert "--database" in str(caught.value)
        assert SECRET not in str(caught.value)


def test_a_server_that_refuses_us_is_a_matter_of_configuration(shop: Sandbox) -> None:
    """Unknown database, role or parameter: exit code 2, and no retry."""
    for setting in ("dbname=no_such_database", "user=no_such_role", "options='-c nonsense=1'"):
        with (
            pytest.raises(ConfigurationError, match="refused the connection") as caught,
            connected(resolve_target(shop.project, shop.environment(database=f"{shop.url} {setting}"))),
        ):
            pass
        assert caught.value.exit_code == 2
        assert not may_pass(caught.value)


def test_another_program_gets_no_secret_as_an_argument(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Others see its arguments. Variables of libpq are for other servers than the embedded one."""
    monkeypatch.setenv("PGUSER", "other")
    conninfo, variables = for_program(target_of("postgresql://me:geheim@here/app", "the test"), host="there")
    assert conninfo_to_dict(conninfo) == {"user": "me", "host": "there", "dbname": "app"}
    assert (variables["PGPASSWORD"], variables["PGUSER"]) == ("geheim", "other")
    with pytest.raises(ConfigurationError) as caught:
        for_program(target_of("host=here sslpassword=geheim", "the test"))
    assert "geheim" not in str(caught.value)
    server = EmbeddedPostgres(tmp_path)
    _, variables = for_program(Target(server.url("app"), "embedded", "the test", server, "app"))
    assert not any(name.startswith("PG") for name in variables)
