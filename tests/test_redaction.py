"""Passwords are never shown: not in messages, not in results, not in the list of processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args
from urllib.parse import quote

import psutil
import psycopg
import pytest
import typer
from psycopg.conninfo import make_conninfo

from snapseed.cli.console import Format, reporting
from snapseed.errors import ConfigurationError, ServerError
from snapseed.postgres.locks import AdvisoryLock
from snapseed.redaction import redacted, url_without_password
from snapseed.servers.targets import resolve_target
from tests.command_line import run_command
from tests.conftest import Sandbox
from tests.projects.state import patiently

SECRET = "correct-horse"
URL = f"postgresql://me:{SECRET}@host/db"


@pytest.mark.parametrize(
    "conninfo",
    [
        f"postgresql://me:{SECRET}@host/db",
        f"postgres://me:{SECRET}@host:5432/db?sslmode=require",
        f"postgresql://:{SECRET}@host/db",
        f"postgresql://me:battery@{SECRET}@host/db",
        f"postgresql://me:battery/{SECRET}@host/db",
        f"postgresql://host/db?user=me&password={SECRET}",
        f"host=h password={SECRET} dbname=d",
        f"host=h password = '{SECRET} staple' dbname=d",
        f"host=h PASSWORD='{SECRET}\\' staple'",
        f"host=h sslpassword={SECRET}",
        f'failed for "postgresql://me:{SECRET}@host/db" and more',
        f"host=h password=a&{SECRET}",
        f"host=h password=my\\ {SECRET} dbname=d",
        f"host=h password='my {SECRET}",
        f"postgresql://u:100%{SECRET}@h/db",
        f"postgresql://u:my {SECRET}@h/db",
        f"postgresql://u:p%00{SECRET}@h/db",
        f"postgresql://u:abc/{SECRET}@h/db",
        f"postgresql://me@corp:{SECRET}@h/db",
        f"postgresql://host/db?password=my {SECRET}&user=me",
        f"postgresql://host/db?sslpassword={SECRET}&password={SECRET}",
    ],
)
def test_passwords_are_redacted(conninfo: str) -> None:
    """In URLs and in key=value strings, quoted or not, escaped or not."""
    shown = redacted(conninfo)
    assert SECRET not in shown
    assert "staple" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "option",
    [option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults() if option.dispchar in {b"*", b"D"}],
)
def test_what_libpq_calls_secret_is_redacted(option: str) -> None:
    """In every form that libpq reads, and in those of other libraries: whatever the next libpq adds to its list."""
    encoded = f"%{ord(option[0]):02X}{option[1:]}"
    url = f"postgresql://host/db?user=me&{option}={SECRET}&sslmode=require"
    for text in (
        f"host=h {option}={SECRET} dbname=d",
        f"host=h {option} = '{SECRET}' dbname=d",
        url,
        url.replace(option, encoded),
        f"--database={option}={SECRET}",
        f"https://example.com/?next={quote(url, safe='')}",
    ):
        assert SECRET not in redacted(text)
        assert "***" in redacted(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("postgres", "postgresql:///postgres"),
        ("localhost", "postgresql://localhost"),
        ("db.example.com:5432/app", "postgresql://db.example.com:5432/app"),
        (f"postgresql+psycopg://me:{SECRET}@host/db", "postgresql://me:***@host/db"),
        ("jdbc:postgresql://host/db", "postgresql://host/db"),
        (f"postgres://u:battery@{SECRET}@h/db", None),
        (f"me:{SECRET}/db", None),
    ],
)
def test_the_url_that_was_probably_meant_is_named(shop: Sandbox, text: str, url: str | None) -> None:
    """With libpq's own words about what was given, unless these may quote a password."""
    with pytest.raises(ConfigurationError) as raised:
        resolve_target(shop.project, shop.environment(database=text))
    said = str(raised.value)
    assert SECRET not in said
    assert (url or "escape user") in str(raised.value.next_step)
    # Only a host, a port and a database are harmless whatever they are.
    assert (text in said) == (":///" in str(url) or text in str(url))


@pytest.mark.parametrize(
    "arguments",
    [
        ("load", URL),
        ("show", "dev", URL),
        ("load", "dev", "--only", URL),
        ("load", "dev", "surplus", URL),
        ("verify", "--snapshot", URL, "--format", "junit"),
        ("verify", "--snapshot", URL, "--format", "github"),
        ("generate", "--scale", URL, "--format", "json"),
        ("generate", "--seed", URL, "--format", "json"),
        ("status", "--project", URL),
        ("status", "--env-file", URL, "--verbose"),
        ("ci", "--baseline", URL),
        (URL,),
    ],
)
def test_a_url_in_the_wrong_place_keeps_its_password(
    generated_once: Callable[[str], Path], arguments: tuple[str, ...]
) -> None:
    """The error about the argument quotes it, in any format."""
    variables = {**os.environ, "SNAPSEED_DATABASE": "postgresql://127.0.0.1:1/none"}
    said = run_command(arguments, generated_once("shop"), variables, timeout_seconds=60)
    assert said.returncode not in {0, 1}
    assert SECRET not in said.stdout + said.stderr


@pytest.mark.parametrize(
    "conninfo", ["", "postgresql://me@host:5432/db", "host=h dbname=d", "postgresql:///db?host=/tmp"]
)
def test_what_has_no_password_is_shown_as_it_is(conninfo: str) -> None:
    """Nothing else is removed."""
    assert redacted(conninfo) == conninfo


@pytest.mark.parametrize(
    ("conninfo", "shown"),
    [
        ("host=h password=a&secret dbname=d", "host=h password=*** dbname=d"),
        (r"host=h password=my\ secret dbname=d", "host=h password=*** dbname=d"),
        ("postgresql://h/db?password=secret&user=me", "postgresql://h/db?password=***&user=me"),
    ],
)
def test_what_stands_beside_a_password_is_shown(conninfo: str, shown: str) -> None:
    """A password ends at an unescaped space; in the query of a URL, at the next parameter."""
    assert redacted(conninfo) == shown


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        (f"postgresql://me:{SECRET}@host:5432/db?a=b", "postgresql://me@host:5432/db?a=b"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        (f"postgresql://host/db?user=me&password={SECRET}", None),
        (f"postgresql://me:battery/{SECRET}@host/db", None),
    ],
)
def test_a_url_without_its_password_has_no_part_of_it(url: str, bare: str | None) -> None:
    """If the password cannot be taken out for certain, there is no such URL."""
    assert url_without_password(url) == bare


@pytest.mark.parametrize(
    "url",
    [
        f"host=h.invalid password=a&{SECRET}",
        f"host=h.invalid password=my\\ {SECRET}",
        f"postgresql://u:100%{SECRET}@h.invalid/db",
        f"postgresql://u:my {SECRET}@h.invalid/db",
        f"postgresql://u:p%00{SECRET}@h.invalid/db",
        f"postgresql://u:abc/{SECRET}@h.invalid/db",
    ],
)
@pytest.mark.parametrize("arguments", [("load", "dev"), ("load", "dev", "--format", "json"), ("db", "url", "dev")])
def test_no_command_shows_a_password_with_verbose_either(
    generated_once: Callable[[str], Path], url: str, arguments: tuple[str, ...]
) -> None:
    """Neither in the message, nor in the chain of exceptions, nor in the log, whether the URL can be parsed or not."""
    variables = {**os.environ, "SNAPSEED_DATABASE": url}
    said = run_command([*arguments, "--verbose"], generated_once("shop"), variables, timeout_seconds=60)
    assert SECRET not in said.stdout + said.stderr
    assert said.returncode or arguments[0] == "db"


def test_a_traceback_shows_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    """An exception may quote a connection string, also one that snapseed did not expect."""
    cause = ValueError(f"postgresql://u:{SECRET}@h/db, or password={SECRET}")
    for output in get_args(Format):
        with pytest.raises(typer.Exit), reporting(output, verbose=True):
            raise cause
        with pytest.raises(typer.Exit), reporting(output, verbose=True):
            raise ServerError("the server failed") from cause
    shown = capsys.readouterr()
    assert "Traceback" in shown.err
    assert SECRET not in shown.out + shown.err


def test_urls_are_printed_without_their_password(shop: Sandbox) -> None:
    """Except with --show-password."""
    url = f"postgresql://me:{SECRET}@example.com/db"
    assert SECRET not in shop.run("db", "url", "dev", check=True, SNAPSEED_DATABASE=url).stdout
    assert SECRET in shop.run("db", "url", "dev", "--show-password", check=True, SNAPSEED_DATABASE=url).stdout


def test_psql_gets_the_password_in_its_environment(shop: Sandbox, tmp_path: Path) -> None:
    """Every account on the machine can see its arguments."""
    program = tmp_path / "psql"
    program.write_text('#!/bin/sh\necho "arguments: $*"\necho "password: $PGPASSWORD"\n')
    program.chmod(0o755)
    url = f"postgresql://me:{SECRET}@example.com/db"
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    arguments, password = shop.run(
        "db", "psql", "dev", check=True, SNAPSEED_DATABASE=url, PATH=path
    ).stdout.splitlines()
    assert SECRET not in arguments
    assert "example.com" in arguments
    assert password == f"password: {SECRET}"


def test_the_list_of_processes_shows_no_password(shop: Sandbox) -> None:
    """A password in the arguments is visible for a moment at the start, and then hidden while the command runs."""
    url = make_conninfo(shop.url, password=SECRET)
    with shop.connect() as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [int(AdvisoryLock.LOADS)])
        command = [sys.executable, "-m", "snapseed", "load", "dev", "--quiet", "--database", url]
        with subprocess.Popen(command, cwd=shop.folder, stderr=subprocess.PIPE, text=True) as process:
            waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            patiently(lambda: connection.execute(waiting).fetchone() is not None)
            listed = " ".join(psutil.Process(process.pid).cmdline())
            connection.execute("SELECT pg_advisory_unlock_all()")
            _, said = process.communicate(timeout=60)
    assert "load dev" in listed
    assert "password=***" in listed
    assert SECRET not in listed + said
    assert process.returncode == 0, said
