"""What is captured and loaded again is what the source has, down to the last bit."""

from __future__ import annotations

from snapseed.capture.request import CaptureRequest
from snapseed.verify.database import verify_snapshot
from tests.capture.conftest import Captured, rows_of


def test_everything_comes_back_exactly(captured: Captured, emptied: str, source: str) -> None:
    """Rows and sequences are equal by `pg_dump --data-only`, and a second load changes nothing."""
    captured.capture()
    for _ in range(2):
        report = captured.load(emptied)
        assert len(report.verified) == len(report.entities) > 20
        assert rows_of(emptied) == rows_of(source)
    environment = captured.project.environment("dev", {"database": emptied})
    verified = verify_snapshot(captured.project, environment, files="rows")
    assert (verified.files, verified.tables, verified.agrees) == ((), (), True)


def test_the_number_of_jobs_does_not_matter(captured: Captured) -> None:
    """The same rows are the same bytes."""
    alone = captured.capture().manifest
    assert captured.capture(CaptureRequest(jobs=4)).manifest == alone
