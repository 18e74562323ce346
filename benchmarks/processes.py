"""Run a command as a process and measure its time, its CPU time and its peak memory."""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import snapseed
from benchmarks.measure import seconds

PROGRAM = (sys.executable, "-m", "snapseed")
# Linux counts the memory a child process had before exec, that is its parent's, toward its peak. So a small process
# starts the command. The peak is in kB, on macOS in bytes (getrusage(2)). Linux keeps no peak of anonymous memory
# (memory not mapped from a file), so the launcher samples it.
_LAUNCHER = """
import json, os, re, subprocess, sys, time
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
anonymous, pid = 0, 0
while not pid:
    time.sleep(0.005)
    try:
        with open(f"/proc/{child.pid}/status") as status:
            sizes = re.findall(r"RssAnon:\\s+(\\d+)", status.read())
            anonymous = max([anonymous, *(int(kilobytes) * 1024 for kilobytes in sizes)])
    except OSError:
        pass
    pid, status, usage = os.wait4(child.pid, os.WNOHANG)
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_maxrss * unit, anonymous]))
"""


@dataclass(frozen=True)
class PeakMemory:
    """The highest resident memory of a process in bytes, and how much of it was not mapped from files."""

    resident: int
    anonymous: int

    @property
    def cells(self) -> tuple[str, str]:
        """Two cells of a table."""
        return f"{self.resident / 1e6:.0f} MB", f"{self.anonymous / 1e6:.0f} MB"


def compile_package() -> None:
    """Write the bytecode of snapseed, as `pip install` does. With PYTHONDONTWRITEBYTECODE, a checkout has none."""
    compileall.compile_dir(Path(snapseed.__file__).parent, quiet=1)


def process_seconds(*command: str) -> float:
    """How long a command takes, from start to exit."""
    return seconds(partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL))


def cpu_seconds(*command: str) -> float:
    """CPU time, user and system, of a command and the processes that it waited for."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, f"{command} exited with {child.returncode}"
    return usage.ru_utime + usage.ru_stime


def peak_memory(*command: str) -> PeakMemory:
    """Run a command and return its peak memory."""
    # Importing polars sets this variable for its allocator; a child process must not inherit it.
    variables = {name: value for name, value in os.environ.items() if name != "_RJEM_MALLOC_CONF"}
    launcher = [sys.executable, "-S", "-c", _LAUNCHER, *command]
    done = subprocess.run(launcher, check=True, stdout=subprocess.PIPE, env=variables)
    code, resident, anonymous = json.loads(done.stdout)
    assert code == 0, f"{command} exited with {code}"
    return PeakMemory(resident, anonymous)
