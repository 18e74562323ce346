"""Run every command with a password that is easy to find, and look for it in all that comes out: `make stress-canary`.

A script, not a test; `tests/cli/test_canary.py` is its short form. The password stands wherever one can: in URLs,
variables, settings and files, in the right places and in wrong ones, for servers that answer and for others. Every
output and every written file is searched, for the password as it is, for each part of it, and for its encoded forms.
Exit code 1 if it is found.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.command_line import run_command
from tests.conftest import PROJECTS, Sandbox
from tests.projects.own_server import own_server
from tests.projects.own_valkey import own_valkey
from tests.projects.state import generated

# Each part between characters that a parser may stop at has the word, so a leak of any part is one.
WORD = "kanarij"
SECRET = f"{WORD}1/{WORD}2@{WORD}3#{WORD}4?{WORD}5&{WORD}6%{WORD}7:{WORD}8 '{WORD}9"
ENCODED = quote(SECRET, safe="")
# Where no parser can know that it is a secret, it has no such characters.
SIMPLE = f"{WORD}0"
_PATIENCE_SECONDS = 120
# The folder for what the commands write.
WRITTEN = "written"
_CHECKS = ("junit", "github", "json", "text")


@dataclass(frozen=True)
class Place:
    """A place for the password: variables, options for commands that take a database, and arguments instead of any."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """A command to run, with the password in a place."""

    place: Place
    arguments: tuple[str, ...]


def places(url: str, redis_url: str, folder: Path) -> list[Place]:
    """All places, for a database and a Redis that answer. Files that hold the password are written into `folder`."""
    parts = conninfo_to_dict(url)
    host, port, name = (str(parts[key]) for key in ("host", "port", "dbname"))
    address = f"{name}?host={quote(host, safe='')}&port={port}"
    passfile, env_file = folder / "passfile", folder / "variables.env"
    passfile.write_text(f"*:*:*:*:{SIMPLE}\n")
    passfile.chmod(0o600)
    env_file.write_text(f"SNAPSEED_DATABASE=postgresql://postgres:{ENCODED}@/{address}\n")
    quoted = SECRET.replace("'", "\\'")

    def database(name: str, value: str, *options: str) -> Place:
        return Place(name, {"SNAPSEED_DATABASE": value}, options)

    good = f"postgresql://postgres:{ENCODED}@/{address}"
    nowhere = f"postgresql://me:{ENCODED}@127.0.0.1:1/none"
    found = [
        database("URL", good),
        database(
            "URL, other database", f"postgresql://postgres:{ENCODED}@/none?host={quote(host, safe='')}&port={port}"
        ),
        database("URL, nowhere", nowhere),
        database("URL, not encoded", f"postgresql://me:{SECRET}@127.0.0.1:1/none"),
        database("URL, half encoded", f"postgresql://me:100%{SIMPLE}@127.0.0.1:1/none"),
        database("URL of SQLAlchemy", f"postgresql+psycopg://me:{ENCODED}@127.0.0.1:1/none"),
        database("keys and values", f"{make_conninfo(url)} password='{quoted}'"),
        database("keys and values, unknown key", f"host=127.0.0.1 port=1 password='{quoted}' nonsense=1"),
        database("keys and values, open quote", f"host=127.0.0.1 port=1 password='{quoted}"),
        Place("option", {}, ("--database", good)),
        Place("option, nowhere", {}, ("--database", nowhere)),
        Place("PGPASSWORD", {"SNAPSEED_DATABASE": url, "PGPASSWORD": SECRET}),
        Place("passfile", {"SNAPSEED_DATABASE": url, "PGPASSFILE": str(passfile)}),
        Place("--env-file", {}, ("--env-file", str(env_file))),
        Place("Redis", {"SNAPSEED_DATABASE": url, "SNAPSEED_REDIS": f"redis://me:{ENCODED}@127.0.0.1:1/0"}),
        Place("Redis, in a query", {"SNAPSEED_DATABASE": url, "SNAPSEED_REDIS": f"{redis_url}&password={ENCODED}"}),
        Place("Redis, not encoded", {"SNAPSEED_DATABASE": url, "SNAPSEED_REDIS": f"redis://me:{SECRET}@127.0.0.1:1/0"}),
        Place(
            "GitHub",
            {
                "SNAPSEED_DATABASE": good,
                "GITHUB_ACTIONS": "true",
                "GITHUB_STEP_SUMMARY": str(folder / WRITTEN / "summary"),
            },
        ),
    ]
    found += [
        database(key, f"postgresql://postgres@/{address}&{key}={ENCODED}")
        for key in ("password", "pass%77ord", "sslpassword", "scram_client_key", "oauth_client_secret")
    ]
    found += [
        Place(f"wrong: {' '.join(before)}", {"SNAPSEED_DATABASE": url}, (), (*before, nowhere))
        for before in ((), ("dev",), ("--snapshot",), ("--project",), ("--only",), ("--allow-host",), ("--timeout",))
    ]
    return found


def commands(place: Place, folder: Path) -> Iterator[tuple[str, ...]]:
    """Each command in each of its formats."""
    extra = place.wrong or ("dev",)
    files = itertools.chain.from_iterable(
        (f"--{name}", str(folder / f"ci.{name}")) for name in ("report", "junit", "openmetrics")
    )
    for output in _CHECKS:
        yield "verify", *extra, *place.options, "--format", output
    yield "ci", *extra, *place.options, "--retries", "1", "--timeout", "3s", "--yes", *files
    yield "ci", *extra, *place.options, "--retries", "0", "--format", "json", "--yes"
    for name in ("load", "diff", "reset", "doctor", "status", "show", "search", "generate"):
        takes_database = name not in {"status", "show", "generate"} or "--env-file" in place.options
        wanted = place.options if takes_database else ()
        consent = ("--yes",) if name in {"load", "reset"} else ()
        question = ("what",) if name == "search" else ()
        for output in ("text", "json"):
            yield name, *extra, *question, *wanted, *consent, "--format", output
    yield "load", *extra, *place.options, "--dry-run", "--yes"
    yield "save", *extra, "one", *place.options, "--yes"
    yield "states", *extra, *place.options
    yield "worker", *extra, *place.options, "--drain", "--yes"
    yield "queue", "status", *extra, *place.options
    yield "db", "url", *extra
    if url := place.variables.get("SNAPSEED_DATABASE"):
        yield "init", str(folder / "new"), "--from-database", url


def runs(url: str, redis_url: str, folder: Path) -> Iterator[Run]:
    """All runs, each with and without --verbose."""
    for place in places(url, redis_url, folder):
        for arguments in commands(place, folder / WRITTEN):
            yield Run(place, arguments)
            yield Run(place, (*arguments, "--verbose"))


def leaks(run: Run, project: Path, written: Path) -> tuple[list[str], int]:
    """Run a command; where the password is in what it said or wrote, and its exit code."""
    shutil.rmtree(written, ignore_errors=True)
    written.mkdir()
    variables = {**os.environ, **run.place.variables}
    try:
        done = run_command(run.arguments, project, variables, _PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        return ["still running"], -1
    texts = {"stdout": done.stdout, "stderr": done.stderr}
    for path in [*written.rglob("*"), *project.rglob("*")]:
        if path.is_file() and path.suffix not in {".parquet", ".pyc"} and not path.name.startswith("."):
            texts[str(path)] = path.read_text(encoding="utf-8", errors="replace")
    return [place for place, text in texts.items() if shows_secret(text)], done.returncode


def shows_secret(text: str) -> bool:
    """Whether any part of the password is in a text, as it is or encoded."""
    # GitHub's own way to hide it.
    lines = [line for line in text.splitlines() if not line.startswith("::add-mask::")]
    return any(form in "\n".join(lines) for form in _FORMS)


def _forms() -> set[str]:
    """The word, which percent-encoding, repr, JSON and XML leave as it is, and its base64 at each of three offsets."""
    found = {WORD}
    for offset in range(3):
        encoded = base64.b64encode(b"x" * offset + WORD.encode()).decode()
        # The first and last characters also depend on what stands beside it.
        found.add(encoded[4 if offset else 0 : -4])
    return found


_FORMS = _forms()


def main() -> int:
    """Do all runs, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress canary")
    parser.add_argument("--every", type=int, default=1, help="only every so many of the runs")
    options = parser.parse_args()
    started, codes, found = time.monotonic(), Counter[int](), 0
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="snapseed-canary-")))
        server, valkey = stack.enter_context(own_server()), stack.enter_context(own_valkey())
        project = root / "letters"
        shutil.copytree(PROJECTS / "letters", project, ignore=shutil.ignore_patterns("__pycache__"))
        url = server.make_database("letters")
        generated(Sandbox(project, url), 40)
        # Ctrl-C shows what was found until then.
        with suppress(KeyboardInterrupt):
            for run in itertools.islice(runs(url, valkey.url, root), 0, None, options.every):
                places_of_leaks, code = leaks(run, project, root / WRITTEN)
                codes[code] += 1
                if places_of_leaks:
                    found += 1
                    sys.stdout.write(f"FOUND: {run.place.name}: {run.arguments} in {places_of_leaks}\n")
    ended = ", ".join(f"{count} × {code}" for code, count in codes.most_common())
    sys.stdout.write(f"{codes.total()} runs ({ended}), the password in {found}; {time.monotonic() - started:.0f} s\n")
    return 1 if found else 0
