"""Measure snapseed on this machine: `run.py [--loads|--generation|--resets|--captures|…] [NAME ...]`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import (
    capture,
    cluster,
    copy_phase,
    dask_tasks,
    diff,
    embeddings,
    fingerprint,
    generation,
    generation_peers,
    index_rebuild,
    load_peers,
    loads,
    page,
    reading,
    report,
    reset,
    subset,
)
from benchmarks.measure import Findings
from benchmarks.workspace import Workspace, temporary_workspace

Benchmarks = Mapping[str, Callable[[Workspace], Findings]]

# The benchmarks by name, in the order of the report: first those of the report itself, then those of each section.
BENCHMARKS: Benchmarks = {
    "start-up": loads.measure_start_up,
    "copy": copy_phase.measure_copy,
    "load": loads.measure_load,
    "fingerprint": fingerprint.measure_types,
    "rebuild": index_rebuild.measure_rebuild,
}
SECTIONS: Mapping[str, Benchmarks] = {
    "Generation": {
        "generators": generation_peers.measure_peers,
        "generate": generation.measure_floor,
        "business": generation.measure_business,
        "scales": generation.measure_scales,
    },
    "Loads": {
        "load-memory": loads.measure_memory,
        "small-load": loads.measure_small_load,
        "ten-columns": copy_phase.measure_ten_columns,
        "reading": reading.measure_reading,
        "peers": load_peers.measure_peers,
    },
    "Test databases": {"reset": reset.measure_reset, "states": reset.measure_states, "suite": reset.measure_suite},
    "Differences": {"diff": diff.measure_diff, "page": page.measure_page},
    "Captures": {"capture": capture.measure_capture, "subset": subset.measure_subset},
    "Embeddings": {"embeddings": embeddings.measure_embeddings},
    "Beyond one machine": {
        "dask": dask_tasks.measure_dask,
        "killed": dask_tasks.measure_killed,
        "store": cluster.measure_store,
        "partitions": cluster.measure_partitions,
    },
}


def main() -> None:
    """Run the chosen benchmarks and print the result; a complete run at scale 1 also updates the report."""
    options = _options()
    known = _known(options.section)
    chosen = options.benchmarks or list(known)
    load_average = os.getloadavg()[0]
    started = time.monotonic()
    found: dict[str, Findings] = {}
    with temporary_workspace(options.scale, options.rounds, large=options.large) as workspace:
        machine = report.describe_machine(workspace)
        for name in chosen:
            print(f"{name} …", file=sys.stderr, flush=True)
            found[name] = known[name](workspace)
    seconds = time.monotonic() - started
    written = options.output.read_text() if options.output.exists() else ""
    if options.section:
        text = report.render_section(
            options.section, found, load_average=load_average, rounds=options.rounds, seconds=seconds
        )
        written = report.with_sections(written, {options.section: text})
    else:
        text = report.render(found, machine, rounds=options.rounds, seconds=seconds)
        written = report.with_sections(text, {name: report.section_of(written, name) for name in report.SECTIONS})
    print(text)
    if set(chosen) == set(known) and options.scale == 1:
        options.output.write_text(written)
        print(f"written to {options.output}", file=sys.stderr)


def _known(section: str | None) -> Benchmarks:
    return SECTIONS[section] if section else BENCHMARKS


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help="run only these (default: all)")
    sections = parser.add_mutually_exclusive_group()
    for option, section in (
        ("--loads", "Loads"),
        ("--generation", "Generation"),
        ("--resets", "Test databases"),
        ("--captures", "Captures"),
        ("--diffs", "Differences"),
        ("--embeddings", "Embeddings"),
        ("--beyond", "Beyond one machine"),
    ):
        names = ", ".join(SECTIONS[section])
        sections.add_argument(
            option, dest="section", action="store_const", const=section, help=f'the section "{section}": {names}'
        )
    parser.add_argument("--large", action="store_true", help="with --loads: also load 20 million rows (a few minutes)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="multiply the row counts; 0.05 for a quick look (default: 1)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often to measure each thing (default: 5)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md",
        help="the report that a complete run at scale 1 updates (default: docs/benchmarks.md)",
    )
    options = parser.parse_args()
    known = _known(options.section)
    if unknown := set(options.benchmarks) - set(known):
        parser.error(f"unknown benchmark: {', '.join(sorted(unknown))} (choose from {', '.join(known)})")
    return options


if __name__ == "__main__":
    main()
