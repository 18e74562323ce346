"""Targets are found without touching anything, passwords are never shown, and the driver's errors become ours."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from snapseed.database.connect import connected, resolve_target, translate, translated
from snapseed.errors import ConfigurationError, LoadError, ServerError
from tests.conftest import Connection, Sandbox

SECRET = "correct-horse"


def test_a_target_says_where_its_url_came_from(shop: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag wins over the variable, the variable over the file; the file names the variable that it took."""
    project = shop.project
    monkeypatch.setenv("SHOP_DATABASE", "postgresql://file/db")
    assert "from $SHOP_DATABASE" in resolve_target(project, project.environment()).source
    monkeypatch.setenv("SNAPSEED_DATABASE", "postgresql://variable/db")
    assert resolve_target(project, project.environment()).source == "SNAPSEED_DATABASE"
    flag = project.environment(None, {"database": f"postgresql://me:{SECRET}@flag/db"})
    found = resolve_target(project, flag)
    assert (found.source, found.described, found.database) == ("--database", "postgresql://me:***@flag/db", "db")


def test_the_embedded_target_is_found_without_starting_it(shop: Sandbox) -> None:
    """Resolving makes no folder; each environment has a database of its own."""
    found = resolve_target(shop.project, shop.project.environment())
    assert found.embedded is not None
    assert found.database == "snapseed_dev"
    assert not (shop.folder / ".snapseed").exists()


@pytest.mark.parametrize(
    "url", [f"postgresql://me:{SECRET}@[half", f"nonsense password={SECRET} and=more", "postgresql://h/db?what=x"]
)
def test_a_url_that_does_not_parse_is_an_error_of_the_configuration(shop: Sandbox, url: str) -> None:
    """It says where the URL came from and what one looks like, and shows no password."""
    with pytest.raises(ConfigurationError, match="cannot be parsed") as caught:
        resolve_target(shop.project, shop.environment(database=url))
    assert "--database" in str(caught.value)
    assert "postgresql://USER@HOST" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_every_connection_has_the_same_session_settings(shop: Sandbox) -> None:
    """Whatever the database's defaults are, text forms are those of our settings."""
    with shop.connect() as connection:
        connection.execute(
            f"ALTER DATABASE {connection.info.dbname} SET datestyle = 'German';"
            f"ALTER DATABASE {connection.info.dbname} SET intervalstyle = 'iso_8601';"
            f"ALTER DATABASE {connection.info.dbname} SET timezone = 'Asia/Tokyo'".encode()
        )
    with connected(resolve_target(shop.project, shop.environment())) as connection:
        row = connection.execute("SELECT timestamptz '2020-02-03 04:05 UTC'::text, interval '1 day'::text").fetchone()
        assert row == ("2020-02-03 04:05:00+00", "1 day")
        assert connection.execute("SHOW application_name").fetchone() == ("snapseed",)


def test_a_connection_is_closed_whatever_happens(shop: Sandbox) -> None:
    """An exception inside the block closes it, too."""
    with pytest.raises(ZeroDivisionError), connected(resolve_target(shop.project, shop.environment())) as connection:
        raise ZeroDivisionError
    assert connection.closed


def test_a_server_that_does_not_answer_is_worth_a_retry(shop: Sandbox, tmp_path: Path) -> None:
    """No socket, no listener, no database, no role: exit code 4, the address, and no password."""
    for url in (
        f"postgresql://me:{SECRET}@127.0.0.1:1/db",
        f"host={tmp_path} password={SECRET}",
        f"{shop.url} dbname=no_such_database",
        f"{shop.url} user=no_such_role",
    ):
        with (
            pytest.raises(ServerError, match="cannot be reached") as caught,
            connected(resolve_target(shop.project, shop.environment(database=url))),
        ):
            pass
        assert caught.value.exit_code == 4
        assert "--database" in str(caught.value)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "kind", "words"),
    [
        ("SELECT 1 / 0", LoadError, ("division by zero", "22012")),
        ("CREATE TEMP TABLE t (a int CONSTRAINT odd CHECK (a > 1)); INSERT INTO t VALUES (1)", LoadError, ("'odd'",)),
        ("CREATE TEMP TABLE u (a int UNIQUE); INSERT INTO u VALUES (1), (1)", LoadError, ("u_a_key", "Key (a)=(1)")),
        ("SELECT nonsense", LoadError, ("nonsense", "42703")),
        ("SET statement_timeout = 10; SELECT pg_sleep(5)", ServerError, ("statement timeout", "57014")),
        ("SELECT pg_terminate_backend(pg_backend_pid())", ServerError, ("terminating connection",)),
        ("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$", ServerError, ("again", "40001")),
        ("DO $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$", ServerError, ("full", "53100")),
    ],
)  # fmt: skip
def test_errors_of_the_server_are_translated(
    connection: Connection, statement: str, kind: type[Exception], words: tuple[str, ...]
) -> None:
    """What may pass when run again is a `ServerError`, the rest a `LoadError`; details are kept."""
    with pytest.raises((LoadError, ServerError)) as caught, translated("trying", "somewhere"):
        connection.execute(statement.encode())
    assert type(caught.value) is kind
    assert "trying" in caught.value.summary
    for word in ("somewhere", *words):
        assert word in str(caught.value)
    assert isinstance(caught.value.__cause__, psycopg.Error)


def test_an_error_without_a_state_is_a_lost_connection() -> None:
    """The driver's own errors have no SQLSTATE: the connection went away."""
    error = translate(psycopg.OperationalError("server closed the connection unexpectedly"), "copying users", "here")
    assert isinstance(error, ServerError)
    assert error.summary == "the connection was lost while copying users"
