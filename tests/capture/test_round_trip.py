"""What is captured and loaded again is what the source has, down to the last bit."""

from __future__ import annotations

from pathlib import Path

from snapseed.capture.request import CaptureRequest
from snapseed.capture.snapshot import capture_snapshot
from snapseed.events import Event, Note
from snapseed.verify.database import verify_snapshot
from tests.capture.conftest import Captured, filled, project_in, rows_of
from tests.conftest import new_database
from tests.projects.state import schema_of

# Values that no Arrow type of their column can hold: arrays with bounds of their own, or of one dimension and of two in
# the same column, the last years, and what is no number.
BEYOND = """
CREATE TABLE bounds(id int PRIMARY KEY, b text[], mixed int[], late timestamptz, scaled numeric(20, 4), fine int[],
  square int[], dates date, lates timestamp[], parts numeric(3, 1)[]);
INSERT INTO bounds VALUES
  (1, '{x}', '{1}', '294276-12-31 23:59:59.999999+00', 1.5, '{1,2}', NULL, 'infinity', NULL, '{1}'),
  (2, '[-1:0][5:6]={{1,2},{3,NULL}}', '{{1},{2}}', 'infinity', 'NaN', '{}', '{{1,2},{3,4}}', NULL,
   '{294276-12-31,-infinity}', '{NaN}');
"""
# One array of two dimensions behind more NULLs than are looked at first.
SQUARE = """
CREATE TABLE t(id int PRIMARY KEY, a int[]);
INSERT INTO t SELECT i, CASE i WHEN 1200 THEN '{{1,2}}'::int[] END FROM generate_series(1, 1200) i ORDER BY i"""


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
    """The same rows are the same bytes, and a capture of the copy is a capture of the source."""
    alone = captured.capture().manifest
    assert captured.capture(CaptureRequest(jobs=4)).manifest == alone


def test_what_arrow_cannot_hold_is_kept_as_text(server: str, database: str, tmp_path: Path) -> None:
    """Only these columns are stored as text, all of them after one look, and everything comes back."""
    project, notes = project_in(tmp_path, filled(database, BEYOND)), list[Event]()
    environment = project.project.environment("dev", {"source": project.url})
    report = capture_snapshot(project.project, environment, CaptureRequest(unmasked=True), listener=notes.append)
    (entity,) = report.manifest.entities
    as_text = {column.name for column in entity.columns if column.type.startswith("pg_catalog.")}
    assert as_text == {"b", "mixed", "late", "scaled", "lates", "parts"}
    assert [column.type for column in entity.columns if column.name == "square"] == ["integer[][]"]
    assert len([event for event in notes if isinstance(event, Note)]) == 1
    with new_database(server) as copy:
        filled(copy, schema_of(database))
        assert project.load(copy).verified
        assert rows_of(copy) == rows_of(database)


def test_where_the_rows_lie_does_not_matter(server: str, tmp_path: Path) -> None:
    """The type of a column follows from its values, so the same rows are the same snapshot."""
    found = set[str]()
    for statements in (SQUARE, f"{SQUARE} DESC"):
        with new_database(server) as url:
            manifest = (
                project_in(tmp_path, filled(url, statements)).capture(CaptureRequest(schema=False, jobs=1000)).manifest
            )
        found.add(manifest.identity)
        assert manifest.entities[0].columns[1].type == "integer[][]"
    assert len(found) == 1
