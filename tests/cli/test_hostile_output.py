"""What a snapshot of somebody else says is shown, and neither a terminal nor the log of a CI system obeys it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import psycopg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed.printable import printable
from tests.conftest import Sandbox
from tests.forged import described, write_file, write_manifest

# A clipboard is written, the screen cleared, the text turned round, and commands given, in all ways that are known.
EVIL = "\x1b]52;c;aGk=\x07\x1b[2J\x9b2J\u202e\r\n::stop-commands::EVIL\n  ::error::x\n##[error]x\n##vso[x]y<b>|`*[l](u)"
NAME = "::stop-commands::EVIL ##[x] [bold]<b>|`"
CHANGE = f"UPDATE \"{NAME}\" SET note = 'x', id = id || id".encode()  # noqa: S608 - our own name
OURS = ("::error file=", "::error title=snapseed", "::add-mask::")
# The colors of "error: " and of the progress bars.
_COLORS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def hostile(tmp_path: Path, database: str) -> Sandbox:
    """A project whose only snapshot has hostile names, values and files, and a database with its table."""
    (tmp_path / "snapseed.toml").write_text('[snapseed]\n[environments.dev]\nsnapshot = "dev"\n')
    folder = tmp_path / "snapshots/dev"
    table = pa.table({"id": [EVIL, "b"], "note": [EVIL, None]})
    write_file(folder / "things.parquet", table)
    entity = described(folder, table, {"id": "text", "note": "text"})
    write_manifest(folder, msgspec.structs.replace(entity, name=NAME, table=NAME))
    (folder / f"a\x1b[2J\n{NAME}\n::error::x.parquet").touch()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f'CREATE TABLE "{NAME}" (id text PRIMARY KEY, note text)'.encode())
    return Sandbox(tmp_path, database)


def require_inert(said: str, *, colors: bool = False) -> None:
    """No byte that a terminal obeys, and no line that a CI system takes for a command, except ours."""
    said = said.replace("\r\n", "\n")
    said = _COLORS.sub("", said) if colors else said
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", said), said
    for line in said.split("\n"):
        assert not line.lstrip().startswith("::") or line.startswith(OURS), line
        assert "##[" not in line, line
        assert "##vso[" not in line, line


COMMANDS = [
    ("show", "dev"),
    ("verify", "dev", "--offline"),
    ("verify", "dev", "--rows"),
    ("load", "dev", "--dry-run"),
    ("load", "dev"),
    ("load", "dev", "--only", EVIL),
    ("diff", "dev"),
    ("ci", "dev"),
    ("status",),
    ("doctor", "dev"),
    ("show", EVIL),
    (EVIL,),
]


def formats(command: str) -> list[str]:
    """All formats of a command."""
    return ["text", "json", *(["junit", "github"] if command in {"verify", "ci"} else [])]


def test_no_command_passes_on_what_a_terminal_or_a_runner_obeys(hostile: Sandbox, tmp_path: Path) -> None:
    """Every command in every format: while the snapshot has a file too much, after a load, and after a change."""
    (stray,) = (path for path in (hostile.folder / "snapshots/dev").iterdir() if "\n" in path.name)
    summary, outputs = tmp_path / "summary.md", tmp_path / "outputs"
    variables = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(outputs)}
    for damaged in (True, False):
        if not damaged:
            stray.unlink()
        for command in [("verify", "dev", "--offline"), ("load", "dev"), ("ci", "dev")] if damaged else COMMANDS:
            for output in formats(command[0]):
                shown = hostile.run(*command, "--format", output, check=False, **variables)
                require_inert(shown.stdout)
                require_inert(shown.stderr)
                if output == "json" and shown.stdout:
                    json.loads(shown.stdout)
                if output == "junit":
                    ET.fromstring(shown.stdout)  # noqa: S314 - our own
            if command[0] == "load" and not damaged:
                with psycopg.connect(hostile.url, autocommit=True) as connection:
                    connection.execute(CHANGE)
    text = summary.read_text(encoding="utf-8")
    require_inert(text)
    assert "EVIL" in text
    assert not re.search(r"(?<!\\)[<`\[]", text.replace("Snapshot `dev`", ""))
    assert {line.partition("=")[0] for line in outputs.read_text().splitlines()} == {
        "outcome", "rows", "seconds", "snapshot-digest", "database-url"
    }  # fmt: skip


@pytest.mark.parametrize("command", [("show", "dev"), ("verify", "dev", "--offline"), ("show", EVIL)])
def test_a_terminal_gets_only_colors_of_ours(command: tuple[str, ...], hostile: Sandbox) -> None:
    """On a pseudo-terminal, where `error:` is red."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "snapseed", *command], cwd=hostile.folder, stdout=theirs, stderr=theirs, stdin=theirs
    )
    os.close(theirs)
    said = b""
    try:
        while data := os.read(ours, 1 << 16):
            said += data
    except OSError:  # Linux says so at the end
        pass
    os.close(ours)
    process.wait(60)
    assert said
    require_inert(said.decode(), colors=True)


def test_the_password_is_masked_before_anything_else_is_said(hostile: Sandbox) -> None:
    """As it is, as it stands in the URL, and encoded in full."""
    parts = psycopg.conninfo.conninfo_to_dict(hostile.url)
    place = f"/{parts['dbname']}?host={parts['host']}&port={parts.get('port', '5432')}"
    url = f"postgresql://{parts['user']}:S3cr3t%40Pw%2fx!@{place}"
    shown = hostile.run("ci", "dev", SNAPSEED_DATABASE=url, GITHUB_ACTIONS="true")
    lines = shown.stderr.splitlines()
    masked = {line.removeprefix("::add-mask::") for line in lines if line.startswith("::add-mask::")}
    assert {"S3cr3t@Pw/x!", "S3cr3t%2540Pw%252fx!", "S3cr3t%2540Pw%252Fx%2521"} <= masked
    assert all(line.startswith("::add-mask::") for line in lines[: len(masked)])
    assert "S3cr3t" not in shown.stdout
    assert "S3cr3t" not in "".join(lines[len(masked) :])


@given(st.text(), st.sampled_from([":", "::", " ::", "##[", "##vso[", "\n::", ""]))
def test_what_is_printable_stays_so(text: str, prefix: str) -> None:
    """Any text is one inert line afterwards; a second time changes nothing; and what was harmless is the same."""
    line = printable(prefix + text)
    require_inert(line)
    assert "\n" not in line
    assert printable(line) == line
    line.encode()
    if text.isascii() and text.isalnum():
        assert printable(text) == text


def test_all_output_passes_the_console() -> None:
    """No other module of the command line writes to stdout or stderr."""
    import snapseed.cli

    folder = Path(snapseed.cli.__file__).parent
    writers: Callable[[str], bool] = re.compile(r"typer\.(echo|secho)|print\(|sys\.(stdout|stderr)\.write").search  # type: ignore[assignment]
    assert [path.name for path in folder.glob("*.py") if writers(path.read_text())] == ["console.py"]
