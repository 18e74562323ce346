"""Damage and forge the files of a small snapshot, and run the commands that read them: `make fuzz-files`.

Each mutation is decided by its number. Half of the damaged files get a manifest that matches them, as an attacker would
write it, so that it is not only their SHA-256 that gives them away. The commands run in a process of their own, which
may use little memory: its end, a traceback, 10 seconds without an answer, memory without bound, and "verified" although
other rows are in the files, are findings.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import copy
import hashlib
import io
import json
import os
import random
import resource
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from snapseed import find_project, generate_snapshot
from snapseed.generate.request import Request
from snapseed.snapshot.manifest import FILE_NAME, Manifest
from tests.conftest import PROJECTS

HANG_SECONDS = 10.0
# Until its first answer, a process imports.
_START_SECONDS = 120.0
MEMORY_BYTES = 3 << 30
COMMANDS = (("verify", "--offline"), ("verify", "--offline", "--rows"), ("show", "dev"))
CRASHES = ("Traceback", "bug in snapseed", "memory is used up", "malloc of size", "realloc of size")
FORGED: tuple[object, ...] = (
    None, True, -1, 0, 1, 7, 2**31, 2**63, 2**64, 2**200, -(2**70), 1e300, "", "id", "x" * 70, "pg_catalog", "snapseed",
    "a\nb", "\x1b[2J", "::error::x", "../x", "/etc/passwd", "bigint", "numeric(9999999)", "vector(16000)", "text[][][]",
    "0" * 16, "f" * 64, [], {}, [1, "a"], ["id", "id"],
)  # fmt: skip


def make_snapshot(folder: Path) -> Path:
    """A project with a snapshot of every type in several chunks; returns the folder of the project."""
    shutil.copytree(PROJECTS / "kinds", folder, ignore=shutil.ignore_patterns("__pycache__"))
    project = find_project(folder)
    generate_snapshot(project, Request("dev", 1, 60, chunk_rows=25))
    return folder


def mutate(folder: Path, dice: random.Random) -> str:
    """Change something in the snapshot `folder`. Returns what was done, in a word."""
    document: dict[str, Any] = json.loads((folder / FILE_NAME).read_text())
    parts = [file for entity in document["entities"] for file in entity["files"]]
    kind = dice.choice(["manifest bytes", "manifest fields", "parquet", "parquet", "parquet", "swap"])
    if kind == "manifest bytes":
        (folder / FILE_NAME).write_bytes(_damaged((folder / FILE_NAME).read_bytes(), dice))
        return kind
    if kind == "manifest fields":
        for _ in range(dice.choice([1, 1, 2])):
            place, key = dice.choice(list(_places(document)))
            other, other_key = dice.choice(list(_places(document)))
            place[key] = copy.deepcopy(dice.choice([dice.choice(FORGED), other[other_key]]))
    elif kind == "swap":
        one, two = (folder / dice.choice(parts)["path"] for _ in range(2))
        data = one.read_bytes(), two.read_bytes()
        one.write_bytes(data[1])
        two.write_bytes(data[0])
    else:
        path = folder / dice.choice(parts)["path"]
        path.write_bytes(_damaged(path.read_bytes(), dice))
    if kind == "manifest fields" or dice.random() < 0.6:
        for file in parts if kind != "manifest fields" else ():
            data_of_file = (folder / file["path"]).read_bytes()
            file |= {"bytes": len(data_of_file), "sha256": hashlib.sha256(data_of_file).hexdigest()}
        _sign(folder, document)
        kind += ", signed"
    return kind


def _damaged(data: bytes, dice: random.Random) -> bytes:
    """Bytes flipped, cut, repeated or overwritten, often in the footer and where pages begin."""
    changed = bytearray(data)
    footer = int.from_bytes(data[-8:-4], "little") if data[-4:] == b"PAR1" else len(data)
    starts = [0, max(0, len(data) - footer - 8), max(0, len(data) - 12)]
    for _ in range(dice.choice([1, 1, 1, 2, 4])):
        start = dice.choice(starts)
        place = min(len(changed) - 1, start + dice.randrange(max(1, len(changed) - start)))
        match dice.randrange(6):
            case 0 | 1:
                changed[place] ^= 1 << dice.randrange(8)
            case 2:
                changed[place] = dice.choice([0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)])
            case 3:
                length = dice.choice([1, 4, 8, 64])
                changed[place : place + length] = dice.randbytes(length)
            case 4:
                del changed[place : place + dice.choice([1, 2, 100])]
            case _:
                other = dice.randrange(len(changed))
                changed[place : place + 16] = changed[other : other + 16]
        if len(changed) < 2:
            break
    return bytes(changed)


def _places(value: object) -> Iterator[tuple[Any, Any]]:
    """Every field and every item of the document, as its container and its key."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield value, key
        yield from _places(item)


def _sign(folder: Path, document: dict[str, Any]) -> None:
    """Write the document with the identity and the format of its content, where it has a content."""
    body = {key: value for key, value in document.items() if key not in {"format", "identity"}}
    with contextlib.suppress(msgspec.ValidationError, ValueError):
        manifest = msgspec.convert(body, Manifest)
        document |= {"format": manifest.format, "identity": manifest.identity}
    (folder / FILE_NAME).write_text(json.dumps(document))


def contents(folder: Path) -> list[str]:
    """The rows of all entities as text, sorted: what a reader gets who knows nothing of snapseed."""
    manifest = json.loads((folder / FILE_NAME).read_text())
    rows: list[str] = []
    for entity in manifest["entities"]:
        names = [column["name"] for column in entity["columns"]]
        for file in entity["files"]:
            table = pq.read_table(folder / file["path"], columns=names)
            rows += map(repr, zip(*(column.to_pylist() for column in table.columns), strict=True))
    return sorted(rows)


def examine(project: Path, number: int, original: list[str]) -> tuple[str, str]:
    """Make mutation `number` of the project's snapshot and read it: what was done, and what was found."""
    folder = project / "snapshots/dev"
    dice = random.Random(number)  # noqa: S311 - no secrets are drawn here
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    try:
        kind = mutate(folder, dice)
        results = [_run(project, *command) for command in COMMANDS]
        for code, said in results:
            if code not in {0, 1, 2} or any(word in said for word in CRASHES):
                return kind, f"crash: {said}"
            if any(ord(character) < 0x20 and character != "\n" for character in said):
                return kind, f"control characters: {said!r}"
        if results[1][0] == 0 and contents(folder) != original:
            return kind, f"false verified: {results[1][1]}"
        return kind, "accepted" if results[1][0] == 0 else "refused"
    finally:
        for path, data in before.items():
            path.write_bytes(data)


def _run(project: Path, *arguments: str) -> tuple[int, str]:
    """A command of the command line in this process: its exit code, and all that it printed."""
    import typer

    from snapseed.cli.app import app

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = app([*arguments, "--project", str(project)], standalone_mode=False) or 0
        except typer.Exit as exc:
            code = exc.exit_code
    return int(code), said.getvalue()


def work(project: Path, first: int, last: int, step: int) -> None:
    """In a process of its own: examine every `step`-th mutation, and print a line for each."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    original = contents(project / "snapshots/dev")
    for number in range(first, last, step):
        print(json.dumps([number, *examine(project, number, original)]), flush=True)  # noqa: T201


def fuzz(first: int, count: int, processes: int, tell: Callable[[str], None]) -> collections.Counter[str]:
    """Examine `count` mutations from number `first` on. Returns how many had which result; findings are told."""
    results: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as temporary:
        home = make_snapshot(Path(temporary) / "project")
        selector = selectors.DefaultSelector()
        for index in range(min(processes, count)):
            project = Path(shutil.copytree(home, Path(temporary) / f"project-{index}"))
            _start(selector, project, first + index, first + count, processes)
        while selector.get_map():
            ready = {key.fd for key, _ in selector.select(1.0)}
            for key in list(selector.get_map().values()):
                process, project, number, since = key.data
                line = key.fileobj.readline() if key.fd in ready else ""  # type: ignore[union-attr]
                hangs = not line and time.monotonic() - since > HANG_SECONDS
                if not line and key.fd not in ready and not hangs:
                    continue
                selector.unregister(key.fileobj)
                if line:
                    _, kind, found = json.loads(line)
                    number += processes
                    selector.register(key.fileobj, selectors.EVENT_READ, (process, project, number, time.monotonic()))
                elif number >= first + count:
                    process.communicate()
                    continue
                else:
                    process.kill()
                    process.communicate()
                    kind, found = "?", "hang" if hangs else f"crash: exit code {process.wait()}"
                    shutil.rmtree(project)
                    shutil.copytree(home, project)
                    number += processes
                    _start(selector, project, number, first + count, processes)
                results[f"{kind}: {found.partition(':')[0]}"] += 1
                if found not in {"accepted", "refused"}:
                    tell(f"mutation {number - processes} ({kind}): {found}")
    return results


def _start(selector: selectors.BaseSelector, project: Path, first: int, last: int, step: int) -> None:
    command = [sys.executable, "-m", "tests.stress.files", "--work", str(project), str(first), str(last), str(step)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, bufsize=1, env=os.environ | {"NO_COLOR": "1"}
    )
    assert process.stdout is not None
    selector.register(
        process.stdout, selectors.EVENT_READ, (process, project, first, time.monotonic() + _START_SECONDS)
    )


def findings(results: collections.Counter[str]) -> int:
    """How many of the results are findings."""
    return sum(count for name, count in results.items() if not name.endswith((": accepted", ": refused")))


def main() -> int:
    """Print what came of the mutations; 1 after a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.files", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=random.SystemRandom().randrange(2**40), help="the first number")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        project, *numbers = options.work
        work(Path(project), *map(int, numbers))
        return 0
    started = time.monotonic()
    results = fuzz(options.first, options.mutations, options.processes, lambda text: print(text, flush=True))  # noqa: T201
    for name, count in sorted(results.items()):
        print(f"{count:7,}  {name}")  # noqa: T201
    print(  # noqa: T201
        f"{sum(results.values()):,} mutations from number {options.first}, {findings(results)} findings,"
        f" {time.monotonic() - started:.0f} s"
    )
    return 1 if findings(results) else 0


if __name__ == "__main__":
    sys.exit(main())
