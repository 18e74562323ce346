"""Inject more than a hundred faults at random points of a load, each followed by the full check: `make stress-loads`.

A script, not a test: its result is the table at the end, it takes minutes, and it draws new points each time. The facts
themselves are tested in tests/load/faults. Exit code 1 if a check failed. The seed repeats a draw.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from snapseed.load.outcome import Outcome
from tests.projects.state import check_told, outcome, whole_state
from tests.stress.arena import Arena, Case, arena
from tests.stress.kinds import IN_ANY_MODE, KINDS, Around, Run

_PATIENCE_SECONDS = 60.0
_INTERRUPTED = (130, 143)
_BESIDE_THE_LOAD = "interrupted; nothing was left half-finished"


@dataclass(frozen=True)
class Result:
    """How one load ended, and what was wrong, if anything."""

    kind: str
    code: int | None
    found: Outcome | None
    said: str
    problem: str = ""


def main() -> int:
    """Draw and inject faults until enough have struck, and print the results."""
    options = _options()
    dice = random.Random(options.seed)  # noqa: S311 - no secrets are drawn here
    started = time.monotonic()
    say(f"seed {options.seed}: {options.faults} faults, {options.customers:,} customers")
    results: list[Result] = []
    with arena(options.customers) as place:
        say(f"a load takes {place.measured.seconds:.2f} s")
        drawn = _drawn(options.only, dice)
        while len(_struck(results)) < options.faults:
            # Each fault has its own dice, so that timing in one does not change the next.
            result = suffer(place, next(drawn), len(results), random.Random(dice.random()))  # noqa: S311 - as above
            results.append(result)
            verdict = f"FAILED: {result.problem}\n{result.said}" if result.problem else result.found
            say(f"{len(_struck(results)):4} {result.kind:<22} exit {result.code!s:>4}  {verdict}")
    say(table(results))
    failed = sum(bool(result.problem) for result in results)
    struck, seconds = len(_struck(results)), time.monotonic() - started
    late = f"{len(results) - struck} came too late (exit 0, loaded and verified)"
    say(f"{struck} faults struck, {late}, {failed} failed checks; {seconds:.0f} s, seed {options.seed}")
    return 1 if failed else 0


def suffer(place: Arena, around: Around, number: int, dice: random.Random) -> Result:
    """Inject one fault into one load, and check everything that must hold afterwards."""
    kind, code, said = _name(around), None, ""
    try:
        with place.case(number, dice) as case:
            mode = dice.choice(["replace", "upsert"]) if around in IN_ANY_MODE else "replace"
            with around(case) as run:
                before, (code, said) = _load(case, run, mode)
            _require(code in (0, *KINDS[around]), f"exit code {code}, expected {KINDS[around]}")
            _require("Traceback" not in said, "a traceback")
            _require(code != 4 or "next:" in said, "no next step")
            # A killed load says nothing, and so does one that is interrupted while it starts or prints.
            silent = code <= 0 or said.strip() in {"", "interrupted"} or _BESIDE_THE_LOAD in said
            found = outcome(case.sandbox, before) if silent else check_told(case.sandbox, before, said)
            _require(code != 0 or found is Outcome.COMMITTED, "exit code 0, and not loaded")
            _require(code not in _INTERRUPTED or bool(said) or found is Outcome.UNCHANGED, "loaded, without a word")
            return Result(kind, code, found, said)
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is a finding
        return Result(kind, code, None, said, f"{type(exc).__name__}: {exc}")


def table(results: list[Result]) -> str:
    """Count, exit codes and outcomes, one line per kind."""
    lines = [f"\n{'kind':<22} {'count':>5}  {'exit codes':<24} outcome"]
    for kind in sorted({result.kind for result in results}):
        chosen = [result for result in results if result.kind == kind]
        codes = _counted(Counter(str(result.code) for result in chosen))
        outcomes = _counted(Counter("FAILED" if result.problem else str(result.found) for result in chosen))
        lines.append(f"{kind:<22} {len(chosen):>5}  {codes:<24} {outcomes}")
    return "\n".join([*lines, ""])


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _load(case: Case, run: Run, mode: str) -> tuple[dict[str, object], tuple[int, str]]:
    """The state before the load, its exit code, and what it said."""
    before = whole_state(case.sandbox.url)
    case.load = case.start(run.variables, run.die_at, "--mode", mode)
    run.meanwhile()
    return before, case.load.wait(_PATIENCE_SECONDS)


def _struck(results: list[Result]) -> list[Result]:
    """Faults that ended a load, or failed a check; not those that came after the load was done."""
    return [result for result in results if result.code != 0 or result.problem]


def _drawn(only: list[str], dice: random.Random) -> Iterator[Around]:
    """All kinds in turn, each round in a new order, endlessly."""
    kinds = [kind for kind in KINDS if not only or _name(kind) in only]
    while kinds:
        dice.shuffle(kinds)
        yield from kinds


def _name(around: Around) -> str:
    return getattr(around, "__name__", "").replace("_", " ")


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} × {name}" for name, count in counter.most_common())


def _require(holds: bool, problem: str) -> None:  # noqa: FBT001 - what is required reads best first
    if not holds:
        raise AssertionError(problem)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="repeats a draw")
    parser.add_argument("--faults", type=int, default=108, help="how many are to strike (default: 108)")
    parser.add_argument("--customers", type=int, default=2000, help="the scale of the snapshot (default: 2000)")
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="KIND", help="these kinds alone, as the table names them"
    )
    return parser.parse_args()
