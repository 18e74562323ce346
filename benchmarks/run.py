"""Measure generating, loading and verifying on this machine; all of it, or the benchmarks that are named."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import copying, generating, hashing, loading, processes, rebuilding, report
from benchmarks.measure import Findings
from benchmarks.place import Place, temporary_place

# In the order of the report. Memory comes first: it starts processes, and nothing else should be in the machine's.
BENCHMARKS: dict[str, Callable[[Place], Findings]] = {
    "memory": processes.measure_memory,
    "start-up": processes.measure_start_up,
    "copy": copying.measure,
    "load": loading.measure,
    "generate": generating.measure,
    "fingerprint": hashing.measure,
    "rebuild": rebuilding.measure,
}


def main() -> None:
    """Measure what was asked for, print it, and write the report where everything was measured at full size."""
    options = _options()
    chosen = options.benchmarks or list(BENCHMARKS)
    started = time.monotonic()
    found: dict[str, Findings] = {}
    with temporary_place(options.scale, options.rounds) as place:
        machine = report.describe_machine(place)
        for name in chosen:
            print(f"{name} …", file=sys.stderr, flush=True)
            found[name] = BENCHMARKS[name](place)
    text = report.render(found, machine, rounds=options.rounds, seconds=time.monotonic() - started)
    print(text)
    if set(chosen) == set(BENCHMARKS) and options.scale == 1 and options.output:
        options.output.write_text(text)
        print(f"written to {options.output}", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = ", ".join(BENCHMARKS)
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"{names} (default: all)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="times as many rows, for a quick look 0.05 (default: 1)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is measured (default: 5)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md",
        help="where the report goes when everything was measured at scale 1 (default: docs/benchmarks.md)",
    )
    options = parser.parse_args()
    if unknown := set(options.benchmarks) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {names}")
    return options


if __name__ == "__main__":
    main()
