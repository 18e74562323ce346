"""The demonstration in examples/cluster runs from the first server to the last check."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).parents[2] / "examples/cluster/run.py"


@pytest.mark.slow
def test_the_demonstration_runs() -> None:
    """At a small scale: it kills a worker, and ends with an error if any of its commands does."""
    command = [sys.executable, str(_SCRIPT), "--users", "100", "--part-rows", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill worker" in done.stdout
