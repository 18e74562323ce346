"""Compare the speed of a run with that of an earlier one, so that a regression is a finding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from snapseed.ci.metrics import Metrics
from snapseed.ci.report import Outcome, Slowdown
from snapseed.errors import UsageError

FORMAT = 1
# What takes this much longer is the noise of a machine that others use as well.
_NOISE_SECONDS = 0.25


class _Entity(msgspec.Struct, frozen=True):
    rows: int
    seconds: float
    verify_seconds: float


class _Metrics(msgspec.Struct, frozen=True):
    rows: int
    phases: dict[str, float]
    entities: dict[str, _Entity]


class Baseline(msgspec.Struct, frozen=True):
    """What is read of an earlier report; whatever else stands there is no concern."""

    format: int
    outcome: str
    metrics: _Metrics


def read_baseline(path: Path) -> Baseline:
    """A report that `snapseed ci --report` has written. Raises `UsageError` for anything else and for a failed run."""
    try:
        baseline = msgspec.json.decode(path.read_bytes(), type=Baseline)
    except (OSError, msgspec.DecodeError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
        raise UsageError(
            "the baseline cannot be read",
            where=str(path),
            observed=reason,
            expected="a report of `snapseed ci --report FILE`",
        ) from exc
    if baseline.format != FORMAT or baseline.outcome != Outcome.PASSED:
        raise UsageError(
            "the baseline is no report that can be compared with",
            where=str(path),
            observed=f"format {baseline.format}, outcome {baseline.outcome!r}",
            expected=f"format {FORMAT}, of a run that has passed",
        )
    return baseline


def slowdowns(metrics: Metrics, baseline: Baseline, allowed: float) -> list[Slowdown]:
    """Phases and entities that took more than `allowed` times as long as in the baseline, beyond noise.

    Times of the baseline are scaled to the rows of this run. Waiting for the server and connecting are not compared.
    """
    return [
        slowdown
        for slowdown in _pairs(metrics, baseline)
        if slowdown.seconds > allowed * slowdown.before and slowdown.seconds - slowdown.before > _NOISE_SECONDS
    ]


def _pairs(metrics: Metrics, baseline: Baseline) -> Iterator[Slowdown]:
    old = baseline.metrics
    for name, entity in metrics.entities.items():
        before = old.entities.get(name)
        if before is not None and before.rows:
            scale = entity.rows / before.rows
            yield Slowdown(f"copying {name}", entity.seconds, before.seconds * scale)
            yield Slowdown(f"verifying {name}", entity.verify_seconds, before.verify_seconds * scale)
    for name, seconds in metrics.phases.items():
        if name in old.phases and name != "connecting":
            yield Slowdown(name, seconds, old.phases[name] * metrics.rows / old.rows)
