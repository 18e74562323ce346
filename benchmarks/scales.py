"""Generation from small to large: the time to plan a billion root rows, parts far out, and memory."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.measure import Findings, Headline, Table, seconds, spreads_in_turns
from benchmarks.place import Place
from benchmarks.processes import PROGRAM, launched, megabytes
from snapseed.generate.part import PartResult, make_part
from snapseed.generate.request import Request, Tasks, estimate

_BILLION = 10**9
_FAR = 10_000
_MEMORY_BAR = 400


def measure(place: Place) -> Findings:
    """In this process, and memory in processes of their own."""
    return Findings((_far_out(place), _planned(place)), (_memory(place),))


def _far_out(place: Place) -> Headline:
    """CPU time a row, since parts differ in their number of rows."""
    folder = place.project.folder / "far"
    tasks = Tasks(place.project, Request("far", place.project.seed, _BILLION), folder)
    folder.mkdir()

    def a_row(number: int) -> float:
        made: list[PartResult] = []
        taken = seconds(lambda: made.append(make_part(tasks[number])), time.process_time)
        return taken / sum(written.file.rows for written in made[0].files.values())

    a_row(1)
    near, far = spreads_in_turns(2 * place.rounds, partial(a_row, 0), partial(a_row, _FAR))
    return Headline(
        f"a row of part {_FAR:,} of a billion users, CPU time",
        "a row of part 0",
        far / near,
        f"{1e6 * far.median:.1f} µs ÷ {1e6 * near.median:.1f} µs",
        1.1,
    )


def _planned(place: Place) -> Headline:
    request = Request("planned", place.project.seed, _BILLION)
    expected = estimate(place.project, request)
    taken, second = spreads_in_turns(
        place.rounds, lambda: seconds(partial(estimate, place.project, request)), lambda: 1
    )
    return Headline(
        f"planning `--scale 1b`: {expected.parts:,} parts, about {expected.rows:,} rows and"
        f" {expected.bytes / 1e12:.1f} TB",
        "a second",
        taken / second,
        f"{taken.median:.2f} s",
        1.0,
    )


def _memory(place: Place) -> Table:
    runs: list[tuple[str, tuple[str, ...]]]
    runs = [(f"{users:,} users", ("--scale", str(users))) for users in map(place.rows, (1_000, 10_000, 50_000))]
    runs.append((f"part {_FAR:,} of a billion users", ("--scale", "1b", "--part", str(_FAR))))
    rows = []
    for what, options in runs:
        command = ("generate", "dev", "--snapshot", "memory", "--jobs", "1", "--quiet", *options)
        rows.append((what, *megabytes(launched(*PROGRAM, *command, "--project", str(place.project.folder)))))
    text = (
        f"Resident memory of a process of `snapseed generate` at its highest; at most {_MEMORY_BAR} MB at any scale."
        " Pages of mapped files, which are those of libraries, count; the last column is without them."
    )
    return Table("Peak memory of generating", text, ("what", "peak", "its own"), rows)
