"""Measure generating, loading and verifying on this machine: the benchmarks of a report, or those that are named."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    comparing,
    copying,
    embeddings,
    floor,
    generate,
    generators,
    hashing,
    loading,
    processes,
    rebuilding,
    report,
    reset,
    scales,
)
from benchmarks.measure import Findings
from benchmarks.place import Place, temporary_place

# In the order of the report.
BENCHMARKS: dict[str, Callable[[Place], Findings]] = {
    "start-up": processes.measure_start_up,
    "copy": copying.measure,
    "load": loading.measure,
    "fingerprint": hashing.measure,
    "rebuild": rebuilding.measure,
}
# Those with a bar, and what explains them: the section on loads.
LOADS: dict[str, Callable[[Place], Findings]] = {
    "load-memory": processes.measure_load_memory,
    "small-load": processes.measure_small_load,
    "ten-columns": floor.measure,
    "peers": comparing.measure,
}
# Those of the section on generation.
GENERATION: dict[str, Callable[[Place], Findings]] = {
    "generators": generators.measure,
    "generate": generate.measure,
    "scales": scales.measure,
}
# Those of the section on test databases.
RESETS: dict[str, Callable[[Place], Findings]] = {"reset": reset.measure}
# Those of the section on embeddings.
EMBEDDINGS: dict[str, Callable[[Place], Findings]] = {"embeddings": embeddings.measure}


def main() -> None:
    """Measure what was asked for, print it, and write it into the report where all was measured at full size."""
    options = _options()
    section, known = _section(options)
    chosen = options.benchmarks or list(known)
    load_average = os.getloadavg()[0]
    started = time.monotonic()
    found: dict[str, Findings] = {}
    with temporary_place(options.scale, options.rounds, large=options.large) as place:
        machine = report.describe_machine(place)
        for name in chosen:
            print(f"{name} …", file=sys.stderr, flush=True)
            found[name] = known[name](place)
    seconds = time.monotonic() - started
    page = options.output.read_text() if options.output.exists() else ""
    if section:
        text = report.render_section(section, found, load_average=load_average, rounds=options.rounds, seconds=seconds)
        page = report.with_sections(page, {section: text})
    else:
        text = report.render(found, machine, rounds=options.rounds, seconds=seconds)
        page = report.with_sections(text, {name: report.section_of(page, name) for name in report.SECTIONS})
    print(text)
    if set(chosen) == set(known) and options.scale == 1:
        options.output.write_text(page)
        print(f"written to {options.output}", file=sys.stderr)


def _section(options: argparse.Namespace) -> tuple[str | None, dict[str, Callable[[Place], Findings]]]:
    """The section that is asked for, None for the rest of the report, and its benchmarks."""
    if options.generation:
        return "Generation", GENERATION
    if options.embeddings:
        return "Embeddings", EMBEDDINGS
    if options.resets:
        return "Test databases", RESETS
    return ("Loads", LOADS) if options.loads else (None, BENCHMARKS)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = f"{', '.join(BENCHMARKS)}; with --loads: {', '.join(LOADS)}; with --resets: {', '.join(RESETS)}"
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"{names} (default: all)")
    parser.add_argument("--loads", action="store_true", help="the benchmarks of the section on loads")
    parser.add_argument("--generation", action="store_true", help="the section on generation")
    parser.add_argument("--resets", action="store_true", help="the section on test databases")
    parser.add_argument("--embeddings", action="store_true", help="the section on embeddings")
    parser.add_argument("--large", action="store_true", help="with --loads: 20 million rows as well, some minutes more")
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
    if unknown := set(options.benchmarks) - set(_section(options)[1]):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {names}")
    return options


if __name__ == "__main__":
    main()
