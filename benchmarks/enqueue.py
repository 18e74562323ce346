"""Enqueue up to a million texts without embeddings: the time and the memory of `snapseed queue repair`."""

from __future__ import annotations

import shutil

from benchmarks.measure import Comparison, Findings, Spread, Table, seconds
from benchmarks.processes import PROGRAM, PeakMemory, peak_memory
from benchmarks.workspace import PROJECTS, Workspace, ensure_snapshot
from snapseed.config import Project, find_project
from snapseed.embeddings.source import embedding_session
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot

_COUNTS = (100_000, 1_000_000)
_MINUTE = 60.0
_FILL = """
INSERT INTO notes SELECT gen_random_uuid(), 'the note of number ' || number
  FROM generate_series(1, %(count)s - (SELECT count(*) FROM notes)) number
"""


def measure_enqueue(workspace: Workspace, redis_url: str) -> Findings:
    """`snapseed queue repair` from start to exit, for both forms of the queue."""
    rows, largest = [], {}
    for form in ("stream", "list"):
        project = _project(workspace, form, redis_url)
        load_snapshot(project, project.environment(), LoadRequest(consent=True))
        for count in map(workspace.rows, _COUNTS):
            with workspace.connection(f"notes_{form}") as connection:
                connection.execute(_FILL, {"count": count})
                connection.execute("VACUUM ANALYZE notes")
            peak, taken = _repair(project)
            _purge(project, count)
            largest[form] = taken
            rows.append((form, f"{count:,}", f"{taken:.1f} s", *peak.cells))
    comparisons = tuple(
        Comparison(
            f"enqueue {workspace.rows(_COUNTS[-1]):,} jobs, start to exit, {form}",
            "one minute",
            Spread((taken / _MINUTE,)),
            f"{taken:.1f} s",
            1.0,
        )
        for form, taken in largest.items()
    )
    text = (
        "The `snapseed queue repair` process: its time, its peak resident memory, and how much of that is not mapped"
        " from files. The table of texts was filled by SQL."
    )
    header = ("form", "jobs", "time", "peak", "without mapped files")
    return Findings(comparisons, (Table("Enqueueing", text, header, rows),))


def _project(workspace: Workspace, form: str, redis_url: str) -> Project:
    """A copy of `projects/notes` with a small snapshot and a database of its own."""
    folder = workspace.project.folder / f"notes-{form}"
    shutil.copytree(PROJECTS / "notes", folder)
    database = f"snapseed_notes_{form}"
    workspace.server.ensure_database(database)
    settings = folder / "snapseed.toml"
    text = settings.read_text()
    settings.write_text(text.format(database=workspace.server.url(database), redis=redis_url, form=form))
    project = find_project(folder)
    ensure_snapshot(project, "dev", 100)
    return project


def _repair(project: Project) -> tuple[PeakMemory, float]:
    peaks: list[PeakMemory] = []
    command = (*PROGRAM, "queue", "repair", "dev", "--project", str(project.folder))
    taken = seconds(lambda: peaks.append(peak_memory(*command)))
    return peaks[0], taken


def _purge(project: Project, count: int) -> None:
    """Empty the queue, which must hold one job for each of `count` texts."""
    with embedding_session(project, project.environment()) as session:
        jobs = session.queue.purge()
    assert jobs == count, f"{jobs} jobs for {count} texts"
