"""How many examples a property test draws: few, always the same; with SNAPSEED_TEST_EXAMPLES=fresh, many new ones."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import HealthCheck, settings

FRESH = os.environ.get("SNAPSEED_TEST_EXAMPLES") == "fresh"
_TIMES_AS_MANY = 50

# No deadline: how long an example takes says nothing on a machine that does other things as well.
settings.register_profile("fixed", deadline=None, derandomize=True, database=None)
settings.register_profile("fresh", deadline=None, max_examples=100 * _TIMES_AS_MANY, print_blob=True)


def load_profile() -> None:
    """Let property tests without settings of their own follow the same choice."""
    settings.load_profile("fresh" if FRESH else "fixed")


def examples(count: int, *, suppress: Sequence[HealthCheck] = ()) -> settings:
    """`count` fixed examples, or many times as many new ones."""
    profile = settings.get_profile("fresh" if FRESH else "fixed")
    return settings(profile, max_examples=count * (_TIMES_AS_MANY if FRESH else 1), suppress_health_check=suppress)
