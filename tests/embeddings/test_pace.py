"""Batches take about a second, or twice what a batch costs by itself."""

from __future__ import annotations

import pytest

from snapseed.embeddings.worker import Pace


def settled(fixed: float, each: float, batches: int = 20) -> list[int]:
    """The sizes of batches that cost `fixed` seconds each, and `each` seconds for each job."""
    pace, sizes = Pace(), []
    for _ in range(batches):
        sizes.append(pace.size)
        pace = pace.after(pace.size, fixed + each * pace.size)
    return sizes


@pytest.mark.parametrize(
    ("fixed", "each", "size"),
    [
        (0.0, 0.1, 10),  # a slow model
        (0.0, 0.001, 1000),
        (0.0, 5.0, 1),  # one that is slower than a batch should be
        (0.5, 0.01, 50),
        (3.0, 0.01, 300),  # a remote one: fewer jobs would not be faster
        (3.0, 0.0, 2048),
        (0.01, 0.00001, 2048),  # a fast one: as many as a batch may have
    ],
)
def test_a_batch_takes_a_second_or_twice_what_it_costs_by_itself(fixed: float, each: float, size: int) -> None:
    """Whatever the first one took."""
    assert settled(fixed, each)[-1] == pytest.approx(size, rel=0.05)


def test_it_grows_in_steps() -> None:
    """The first batch is small, and each one is at most eight times as large as the one before."""
    assert settled(0.0, 0.0001, 4) == [16, 128, 1024, 2048]


def test_a_moment_of_slowness_is_forgotten() -> None:
    """Once the next batches are as fast as those before."""
    pace = Pace()
    for _ in range(5):
        pace = pace.after(pace.size, 0.001 * pace.size)
    pace = pace.after(pace.size, 30.0)
    for _ in range(5):
        pace = pace.after(pace.size, 0.001 * pace.size)
    assert pace.size == pytest.approx(1000, rel=0.1)


def test_batches_of_one_size_keep_what_is_known() -> None:
    """Small differences in size say nothing about the fixed cost of a batch."""
    pace = Pace()
    for jobs in (16, 200, 210, 205):
        pace = pace.after(jobs, 2.0 + 0.01 * jobs)
    assert pace.size == pytest.approx(200, rel=0.05)
