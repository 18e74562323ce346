"""What the machine does to a command: full disks, too few files, too little memory, and Ctrl-C at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from snapseed.units import size
from tests.conftest import Sandbox, copied, without_coverage

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
# Prints a line when the first module of snapseed is about to be imported, just after Ctrl-C has got its handler.
READY = """
import sys
begun = []
def see(event, arguments):
    if event == "import" and arguments[0] == "snapseed.cli.app" and not begun:
        begun.append(print("ready", file=sys.stderr, flush=True))
sys.addaudithook(see)
from snapseed.__main__ import main
main()
"""


def command(folder: Path, *arguments: str, limit: str = "true", **streams: object) -> subprocess.CompletedProcess[str]:
    """A command under a limit of the shell, with its streams."""
    line = f'{limit}; exec "$@"'
    program = ["sh", "-c", line, "sh", sys.executable, "-m", "snapseed", *arguments]
    return subprocess.run(program, cwd=folder, text=True, check=False, env=without_coverage(), timeout=60, **streams)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("bytes_", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (99_940, "99.9 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_501, "1.0 MB"),
        (200_000, "200 kB"),
        (174e6, "174 MB"),
        (4_000_000_000, "4.0 GB"),
        (2.5e12, "2.5 TB"),
    ],
)
def test_a_size_has_a_unit_that_shows_its_digits(bytes_: float, shown: str) -> None:
    """Never 0.0 of a unit that is too large."""
    assert size(bytes_) == shown


@needs_full
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("show", "dev"), 2),
        (("verify", "--offline", "--format", "junit"), 2),
        (("--version",), 2),
        (("load", "nowhere", "--format", "json"), 2),
        (("lod", "--format", "json"), 2),
        (("load", "dev", "--format", "json", "--database", "postgresql://127.0.0.1:1/x"), 4),
        (("verify", "--offline"), 1),
    ],
)
def test_output_that_cannot_be_written_is_said(
    generated_once: Callable[[str], Path], tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    """Without a traceback. The first failure decides the exit code, whichever stream is full."""
    folder = copied(generated_once("shop"), tmp_path)
    if code == 1:
        (folder / "snapshots" / "dev" / "shops.parquet").write_bytes(b"PAR1")
    with FULL.open("w") as full:
        shown = command(folder, *arguments, stdout=full, stderr=subprocess.PIPE)
        assert (shown.returncode, "Traceback" in shown.stderr) == (code, False), shown.stderr
        assert "rror: " in shown.stderr
        assert "bug in snapseed" not in shown.stderr
        silent = command(folder, *arguments, stdout=subprocess.DEVNULL, stderr=full)
        fails_anyway = code != 2 or {"nowhere", "lod"} & set(arguments)
        assert silent.returncode == (code if fails_anyway else 0)


@pytest.mark.parametrize(
    ("limit", "arguments"),
    [
        ("ulimit -n 8", ("generate", "--check")),
        ("ulimit -v 330000", ("generate", "--check")),
        ("ulimit -n 20", ("load", "dev", "--database", "embedded")),
        ("ulimit -f 100", ("load", "dev", "--database", "embedded")),
    ],
)
def test_what_the_machine_lacks_is_named(
    generated_once: Callable[[str], Path], tmp_path: Path, limit: str, arguments: tuple[str, ...]
) -> None:
    """In one line of initdb's many, with no file that does not exist; and it is not worth a retry."""
    folder = copied(generated_once("shop"), tmp_path)
    shown = command(folder, *arguments, "--format", "json", limit=limit, capture_output=True)
    error = json.loads(shown.stdout)["error"]
    assert (shown.returncode, error["type"]) == (2, "MachineError"), shown.stderr
    assert "\n" not in error["observed"]
    assert "server.log" not in error["next"]
    assert [path.name for path in folder.glob(".snapseed/postgres*")] in ([], ["postgres.lock"])


def test_a_report_that_cannot_be_written_changes_no_exit_code(shop: Sandbox, tmp_path: Path) -> None:
    """The first failure decides it, the other reports are written, and the loss is said beside it."""
    lost, kept = tmp_path / "no" / "ci.json", tmp_path / "ci.xml"
    files = ("--report", str(lost), "--junit", str(kept), "--openmetrics", str(tmp_path / "no" / "ci.prom"))
    for database, code in ((shop.url, 2), ("postgresql://127.0.0.1:1/none", 4)):
        kept.unlink(missing_ok=True)
        shown = shop.run("ci", "--retries", "0", *files, "--database", database, "--format", "json")
        assert shown.returncode == code
        assert json.loads(shown.stdout)["exit_code"] == (code if code == 4 else 0), shown.stdout + shown.stderr
        assert kept.read_text().startswith("<?xml")
        assert shown.stderr.count("the report cannot be written") == 2
        assert str(lost) in shown.stderr
    summary = str(tmp_path / "no" / "summary.md")
    (shop.folder / "snapshots" / "dev" / "shops.parquet").write_bytes(b"PAR1")
    shown = shop.run("verify", "--offline", "--format", "text", GITHUB_STEP_SUMMARY=summary)
    assert (shown.returncode, summary in shown.stderr) == (1, True)


def test_a_failure_before_there_is_a_report_is_in_the_files_too(shop: Sandbox, tmp_path: Path) -> None:
    """As JSON and as JUnit: nobody reads the files of an earlier run instead."""
    report, junit = tmp_path / "ci.json", tmp_path / "ci.xml"
    shown = shop.run("ci", "nowhere", "--report", str(report), "--junit", str(junit))
    assert shown.returncode == 2
    assert json.loads(report.read_text())["exit_code"] == 2
    assert "nowhere" in junit.read_text()


ENDINGS = {
    "exit": "exit()",
    "exit code": "__import__('sys').exit(3)",
    "interrupt": "raise KeyboardInterrupt",
    "recursion": "recur = lambda: recur()\n    recur()",
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_generator_cannot_end_the_run(shop: Sandbox, ending: str, jobs: int) -> None:
    """Its exit() and its KeyboardInterrupt are errors of the generator, with file and line, in any process."""
    module = shop.folder / "generators" / "broken.py"
    module.write_text(
        f"""from snapseed import entity
@entity(key="id", columns={{"id": "bigint"}})
def broken(rows):
    {ENDINGS[ending]}
"""
    )
    shown = shop.run("generate", "--jobs", str(jobs), "--format", "json")
    error = json.loads(shown.stdout)["error"]
    assert (shown.returncode, error["type"]) == (2, "GeneratorError")
    assert error["where"].startswith(str(module))
    if jobs == 1:
        module.write_text(f"def run():\n    {ENDINGS[ending]}\nrun()\n")
        error = json.loads(shop.run("generate", "--format", "json").stdout)["error"]
        assert (error["type"], error["where"].startswith(str(module))) == ("GeneratorError", True)


def test_an_interrupt_at_any_moment_is_one_line(generated_once: Callable[[str], Path], tmp_path: Path) -> None:
    """Sent to the whole group, as a terminal does: during imports, while processes start, and later."""
    folder = copied(generated_once("shop"), tmp_path)
    dice = random.Random(7)  # noqa: S311 - no secrets are drawn here
    found = set()
    for number in range(12):
        # Long enough to be met while other processes start.
        arguments = ["generate", "--jobs", "2", "--quiet", "--scale", "20000"]
        with subprocess.Popen(
            [sys.executable, "-c", READY, *arguments],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=without_coverage(),
            process_group=0,
        ) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == "ready\n"
            time.sleep(dice.uniform(0, 0.2) if number % 2 else dice.uniform(0, 2.5))
            os.killpg(process.pid, signal.SIGINT)
            said = process.stderr.read()
        found.add(process.returncode)
        if process.returncode == 0:
            assert said == ""
        else:
            assert process.returncode == 130, said
            assert len(said.splitlines()) == 1
            assert "interrupted" in said
    assert 130 in found
