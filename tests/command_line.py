"""`snapseed …` as a process of its own, forked from a server process that has imported what commands need.

So each test process pays half a second of imports once, instead of once for each of some hundred commands.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "rich.cells",
        "snapseed.capture.snapshot",
        "snapseed.ci.doctor",
        "snapseed.ci.process",
        "snapseed.cli.app",
        "snapseed.cli.documents",
        "snapseed.cli.text",
        "snapseed.embeddings.service",
        "snapseed.generate.snapshot",
        "snapseed.load.snapshot",
        "snapseed.testing.reset",
        "snapseed.diff.compare",
        __name__,
    ]
)


def run_command(
    arguments: Sequence[str], folder: Path, variables: Mapping[str, str], timeout_seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run the command line in `folder` with only these variables, and wait for it.

    Raises `subprocess.TimeoutExpired` as `subprocess.run` does.
    """
    with tempfile.TemporaryDirectory() as temporary:
        outputs = [Path(temporary) / name for name in ("stdout", "stderr")]
        process = CONTEXT.Process(target=_command, args=(list(arguments), folder, dict(variables), outputs))
        process.start()
        process.join(timeout_seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(arguments), timeout_seconds)
        said = [output.read_text(encoding="utf-8") if output.exists() else "" for output in outputs]
        return subprocess.CompletedProcess(list(arguments), process.exitcode, *said)


def _command(arguments: list[str], folder: Path, variables: dict[str, str], outputs: list[Path]) -> None:
    """In the process: the command line, as its console script runs it."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    for stream, output in zip((sys.stdout, sys.stderr), outputs, strict=True):
        stream.flush()
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
    from snapseed.cli.app import main

    sys.argv = ["snapseed", *arguments]
    main()
