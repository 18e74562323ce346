"""The page of `snapseed report` about ten million cells: against reading the files once, and fg-data-profiling."""

from __future__ import annotations

import tempfile
import time
from functools import partial

import pyarrow.dataset as ds

from benchmarks.measure import Findings, Table, in_seconds, seconds, spreads_in_turns
from benchmarks.processes import PROGRAM, peak_memory
from benchmarks.workspace import Workspace, project_of
from snapseed.config import Environment, Project
from snapseed.report.page import make_page
from snapseed.snapshot.store import Snapshot

_ROWS = 1_000_000


def measure_page(workspace: Workspace) -> Findings:
    """A million rows of ten columns, in turns. The peer reads the same files, with `minimal=True`."""
    snapshot = workspace.ten_columns(workspace.rows(_ROWS))
    project = project_of(snapshot)
    environment = project.environment("dev").changed(snapshot=snapshot.manifest.name)

    def page() -> float:
        return seconds(partial(_page, project, environment), time.process_time)

    ours, read = spreads_in_turns(workspace.rounds, page, lambda: seconds(partial(_read, snapshot), time.process_time))
    # The peer takes a minute, and the ratio is far from its target.
    beside, peer = spreads_in_turns(1, page, lambda: seconds(partial(_peer, snapshot), time.process_time))
    what = f"report of {10 * snapshot.manifest.rows:,} cells, CPU time"
    return Findings(
        (
            in_seconds(what, "reading the files once", ours, read, 3),
            in_seconds(what, "fg-data-profiling, minimal", beside, peer, 0.1, digits=3),
        ),
        (_memory(workspace),),
    )


def _memory(workspace: Workspace) -> Table:
    rows = []
    for count in (workspace.rows(_ROWS) // 10, workspace.rows(_ROWS)):
        snapshot = workspace.ten_columns(count)
        project = project_of(snapshot).folder
        with tempfile.TemporaryDirectory() as folder:
            page = ("--snapshot", snapshot.manifest.name, "--output", f"{folder}/page.html", "--quiet")
            peak = peak_memory(*PROGRAM, "report", "dev", "--project", str(project), *page)
        rows.append((f"{10 * count:,}", *peak.cells))
    return Table("Memory of a report", "The highest, by number of cells.", ("cells", "resident", "anonymous"), rows)


def _page(project: Project, environment: Environment) -> None:
    assert not make_page(project, environment).different


def _read(snapshot: Snapshot) -> None:
    for entity in snapshot.manifest.entities:
        for batch in snapshot.batches(entity, [column.name for column in entity.columns]):
            del batch


def _peer(snapshot: Snapshot) -> None:
    from data_profiling import ProfileReport  # noqa: PLC0415 - it takes seconds, and only this needs it

    frame = ds.dataset(str(snapshot.place), format="parquet", exclude_invalid_files=True).to_table().to_pandas()
    frame[["id", "other_id"]] = frame[["id", "other_id"]].astype(str)
    ProfileReport(frame, minimal=True, progress_bar=False).to_html()
