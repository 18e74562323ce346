"""Whether a condition holds for examples of what columns hold, in every combination."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from itertools import islice, product

from snapseed.scaffold.evaluate import evaluate
from snapseed.scaffold.expressions import UnreadError
from snapseed.scaffold.limits import Rule

_MOST = 4_096


class Trial(Enum):
    """What trying a condition on examples has shown."""

    HOLDS = "it holds for all of them"
    FAILS = "it does not hold for one"
    UNKNOWN = "it cannot be tried"


def holds(rule: Rule, examples: Mapping[str, tuple[object, ...]], now: datetime) -> Trial:
    """Try a condition on every combination of examples; a check that gives NULL is met, as in SQL."""
    columns = [examples.get(name, ()) for name in rule.columns]
    if not all(columns):
        return Trial.UNKNOWN
    try:
        for values in islice(product(*columns), _MOST):
            if evaluate(rule.node, dict(zip(rule.columns, values, strict=True)), now) is False:
                return Trial.FAILS
    except UnreadError:
        return Trial.UNKNOWN
    return Trial.HOLDS
