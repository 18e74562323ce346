"""Start-up and memory: what the command line costs as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measure import Findings, Headline, Table, seconds, spreads_in_turns
from benchmarks.place import Place, project_of
from snapseed.config import Project

_START_UPS = 15
_LARGE_ROWS = 20_000_000
_MEMORY_BAR = 300
_LIBRARIES = ("pyarrow.parquet", "polars, pyarrow.parquet")
PROGRAM = (sys.executable, "-m", "snapseed")
# Of a process that is started by a large one, Linux reports the size of that one as a peak: the memory of before exec
# counts. So a small process starts what is measured. The peak is in kB, on macOS in bytes (getrusage(2)). What is not
# mapped from a file is only told by Linux, and only of the moment, so it is asked again and again.
_LAUNCHER = """
import json, os, re, subprocess, sys, time
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
own, pid = 0, 0
while not pid:
    time.sleep(0.005)
    try:
        with open(f"/proc/{child.pid}/status") as status:
            own = max([own, *(int(kilobytes) * 1024 for kilobytes in re.findall(r"RssAnon:\\s+(\\d+)", status.read()))])
    except OSError:
        pass
    pid, status, usage = os.wait4(child.pid, os.WNOHANG)
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_maxrss * unit, own]))
"""


@dataclass(frozen=True)
class Peak:
    """Bytes that a process held at its highest: resident in all, and of those the ones not mapped from files."""

    resident: int
    own: int

    def __str__(self) -> str:
        return f"{self.resident / 1e6:.0f} MB, {self.own / 1e6:.0f} MB its own"


def measure_start_up(place: Place) -> Findings:
    """`snapseed --help` against the import of the library that parses its command line."""
    snapseed = Path(sys.executable).with_name("snapseed")
    ours, imports = spreads_in_turns(
        max(1, round(_START_UPS * min(place.size, 1))),
        partial(_process_seconds, str(snapseed), "--help"),
        partial(_process_seconds, sys.executable, "-c", "import typer"),
    )
    return Findings(
        (
            Headline(
                "`snapseed --help`",
                '`python -c "import typer"`',
                ours / imports,
                f"{1000 * ours.median:.0f} ms ÷ {1000 * imports.median:.0f} ms",
            ),
        )
    )


def measure_small_load(place: Place) -> Findings:
    """`snapseed load test`, from start to exit, against what no Python program that uses the server can do without."""
    place.committed("test")
    load = (*PROGRAM, "load", "test", "--yes", "--quiet", "--project", str(place.project.folder))
    # The first one makes the database and the tables.
    _process_seconds(*load)
    select = (str(place.server.psql()), "--no-psqlrc", "--command=select 1", place.server.url("postgres"))
    ours, query, imports = spreads_in_turns(
        max(1, round(_START_UPS * min(place.size, 1))),
        partial(_process_seconds, *load),
        partial(_process_seconds, *select),
        partial(_process_seconds, sys.executable, "-c", "import psycopg, pyarrow"),
    )
    least = query + imports
    return Findings(
        (
            Headline(
                "`snapseed load test`, start to exit, server running",
                '`psql -c "select 1"` and then `python -c "import psycopg, pyarrow"`',
                ours / least,
                f"{1000 * ours.median:.0f} ms ÷ {1000 * least.median:.0f} ms",
                3.0,
            ),
        )
    )


def measure_load_memory(place: Place) -> Findings:
    """Peak memory of loading few and many rows: of the example, and of the table of ten columns."""
    large = [_LARGE_ROWS] if place.large else []
    snapshots = [
        *(place.snapshot(place.rows(users)) for users in (10_000, 50_000)),
        *(place.ten_columns(place.rows(rows)) for rows in (10_000, 100_000, 1_000_000, *large)),
    ]
    rows = []
    for snapshot in snapshots:
        project, manifest = project_of(snapshot), snapshot.manifest
        database = f"memory_{project.folder.name}".replace("-", "_")
        place.server.ensure_database(database)
        target = ("--snapshot", manifest.name, "--database", place.server.url(database), "--yes")
        what = f"`{manifest.entities[0].name}`" if len(manifest.entities) == 1 else "all four of the example"
        rows.append((what, f"{manifest.rows:,}", *megabytes(_peak(project, "load", *target))))
    bare = [f"`import {names}` {launched(sys.executable, '-c', f'import {names}')}" for names in _LIBRARIES]
    text = (
        f"Resident memory of the process of `snapseed load` at its highest; at most {_MEMORY_BAR} MB, and flat. Pages"
        " of mapped files, which are those of libraries, count although the system can take them back at any time, and"
        " their number depends on how these files lie in its cache; the last column is without them."
        f" For comparison: {'; '.join(bare)}. {_LARGE_ROWS:,} rows are loaded by `make bench-large` only."
    )
    return Findings((), (Table("Peak memory of a load", text, ("tables", "rows", "peak", "its own"), rows),))


def _process_seconds(*command: str) -> float:
    return seconds(partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL))


def megabytes(peak: Peak) -> tuple[str, str]:
    """Both for a table."""
    return f"{peak.resident / 1e6:.0f} MB", f"{peak.own / 1e6:.0f} MB"


def _peak(project: Project, command: str, *arguments: str) -> Peak:
    return launched(*PROGRAM, command, "dev", "--quiet", "--project", str(project.folder), *arguments)


def launched(*command: str) -> Peak:
    """What a process held at its highest."""
    # polars tells its allocator by a variable of the process that imports it, and those who are started inherit it.
    variables = {name: value for name, value in os.environ.items() if name != "_RJEM_MALLOC_CONF"}
    launcher = [sys.executable, "-S", "-c", _LAUNCHER, *command]
    done = subprocess.run(launcher, check=True, stdout=subprocess.PIPE, env=variables)
    code, resident, own = json.loads(done.stdout)
    assert code == 0, f"{command} ended with {code}"
    return Peak(resident, own)
