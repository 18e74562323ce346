"""Start-up and memory: what the command line costs as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.measure import Findings, Headline, Table, seconds, spreads_in_turns
from benchmarks.place import Place

_START_UPS = 15
# Of a process that is started by a large one, Linux reports the size of that one as a peak: the memory of before exec
# counts. So a small process starts what is measured. The peak is in kB, on macOS in bytes (getrusage(2)).
_LAUNCHER = """
import json, os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_maxrss * unit]))
"""


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


def measure_memory(place: Place) -> Findings:
    """Peak memory of generating (one process) and loading at two scales."""
    small, large = place.rows(10_000), place.rows(50_000)
    rows = []
    for command, options in (("generate", ("--jobs", "1")), ("load", ("--yes",))):
        peaks = []
        for users in (small, large):
            scale = ("--scale", str(users)) if command == "generate" else ()
            peaks.append(_peak(place, command, "dev", "--snapshot", f"memory-{users}", "--quiet", *scale, *options))
        before, after = peaks
        rows.append(
            (f"`snapseed {command}`", f"{before / 1e6:.0f} MB", f"{after / 1e6:.0f} MB", f"{after / before:.2f}")
        )
    bare = [
        _launched(sys.executable, "-c", f"import {name}") for name in ("pyarrow.parquet", "polars, pyarrow.parquet")
    ]
    text = (
        f"Resident memory of the client process at its highest, at scale {small:,} and {large:,} (all four entities)."
        f" For comparison: `import pyarrow.parquet` alone {bare[0] / 1e6:.0f} MB, with polars {bare[1] / 1e6:.0f} MB."
        " Pages of memory-mapped Parquet files count as resident, although the system can take them back at any time."
    )
    return Findings((), (Table("Peak memory", text, ("command", f"{small:,}", f"{large:,}", "ratio"), rows),))


def _process_seconds(*command: str) -> float:
    return seconds(partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL))


def _peak(place: Place, command: str, *arguments: str) -> int:
    program = [sys.executable, "-m", "snapseed", command, *arguments]
    return _launched(*program, "--project", str(place.project.folder))


def _launched(*command: str) -> int:
    """Bytes that a process held at its highest."""
    done = subprocess.run([sys.executable, "-S", "-c", _LAUNCHER, *command], check=True, stdout=subprocess.PIPE)
    code, peak = json.loads(done.stdout)
    assert code == 0, f"{command} ended with {code}"
    return int(peak)
