"""Run the core's fuzzer, compiled with AddressSanitizer and UndefinedBehaviorSanitizer: `python -m tests.core.fuzz`."""

from __future__ import annotations

import argparse
import random
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from build_core import SOURCES, system_compiler

FLAGS = ("-g", "-O1", "-std=c11", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compile_fuzzer(folder: Path) -> Path:
    """The fuzzer's program, made in `folder`. Raises `RuntimeError` where the compiler has no sanitizers."""
    program = folder / "fuzz"
    sources = [f"-I{SOURCES}", '-DSNAPSEED_SOURCE=""', str(Path(__file__).with_name("fuzz.c"))]
    command = [*(system_compiler() or ["cc"]), *FLAGS, *sources, "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)}\n{done.stderr}")
    return program


def fuzz(program: Path, first: int, inputs: int) -> subprocess.CompletedProcess[str]:
    """Run the inputs from number `first` on. A finding ends the process with a report on stderr."""
    return subprocess.run([str(program), str(first), str(inputs)], capture_output=True, text=True, check=False)


def main() -> int:
    """Print what came of the inputs; 1 after a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--first", type=int, default=random.randrange(2**40), help="the number of the first input")  # noqa: S311 - fresh inputs, not secrets
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done = fuzz(compile_fuzzer(Path(folder)), options.first, options.inputs)
    print(f"inputs {options.first} to {options.first + options.inputs - 1}: {done.stdout.strip() or 'a finding'}")  # noqa: T201
    sys.stderr.write(done.stderr)
    return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
