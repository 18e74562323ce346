"""A million texts without vectors: how long their jobs take to get into the queue, and in how much memory."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.measure import Findings, Headline, Spread, Table, seconds
from benchmarks.place import Place, made
from benchmarks.processes import PROGRAM, Peak, launched, megabytes
from snapseed.config import Project, find_project
from snapseed.embeddings.source import embedding_session
from snapseed.load.run import load_snapshot

_COUNTS = (100_000, 1_000_000)
_MINUTE = 60.0
_SETTINGS = """
[snapseed]
schema = "texts.sql"

[environments.dev]
database = "{database}"
redis = "{redis}"
embeddings = "queue"
create_schema = true

[embeddings]
entity = "notes"
text = "body"
target = "vectors"
parent = "note_id"
number = "number"
model = "model"
vector = "embedding"
key = "id"
queue = "{form}"
"""
_FILL = """
INSERT INTO notes SELECT gen_random_uuid(), 'the note of number ' || number
  FROM generate_series(1, %(count)s - (SELECT count(*) FROM notes)) number
"""


def measure(place: Place, redis_url: str) -> Findings:
    """`snapseed queue repair` from start to exit, for both forms of the queue."""
    rows, largest = [], {}
    for form in ("stream", "list"):
        project = _project(place, form, redis_url)
        load_snapshot(project, project.environment(), consent=True)
        for count in map(place.rows, _COUNTS):
            with place.connection(f"texts_{form}") as connection:
                connection.execute(_FILL, {"count": count})
                connection.execute("VACUUM ANALYZE notes")
            peak, taken = _repaired(project)
            _require(project, count)
            largest[form] = taken
            rows.append((form, f"{count:,}", f"{taken:.1f} s", *megabytes(peak)))
    headlines = tuple(
        Headline(
            f"{place.rows(_COUNTS[-1]):,} jobs into the queue, start to exit, {form}",
            "a minute",
            Spread((taken / _MINUTE,)),
            f"{taken:.1f} s",
            1.0,
        )
        for form, taken in largest.items()
    )
    text = (
        "`snapseed queue repair` as a process: its time, its resident memory at its highest, and of that what is not"
        " mapped from files. The table of texts was filled by SQL."
    )
    return Findings(headlines, (Table("Enqueueing", text, ("form", "jobs", "time", "peak", "its own"), rows),))


def _project(place: Place, form: str, redis_url: str) -> Project:
    """A project with the two tables of texts.py, and a snapshot of few of them."""
    folder = place.project.folder / f"texts-{form}"
    (folder / "generators").mkdir(parents=True)
    database = f"texts_{form}"
    place.server.ensure_database(f"snapseed_{database}")
    url = place.server.url(f"snapseed_{database}")
    (folder / "snapseed.toml").write_text(_SETTINGS.format(database=url, redis=redis_url, form=form))
    for name, where in (("texts.py", "generators"), ("texts.sql", ".")):
        shutil.copy(Path(__file__).with_name(name), folder / where)
    project = find_project(folder)
    made(project, "dev", 100)
    return project


def _repaired(project: Project) -> tuple[Peak, float]:
    peaks: list[Peak] = []
    command = (*PROGRAM, "queue", "repair", "dev", "--project", str(project.folder))
    taken = seconds(lambda: peaks.append(launched(*command)))
    return peaks[0], taken


def _require(project: Project, count: int) -> None:
    """As many jobs as there are texts; and none is left."""
    with embedding_session(project, project.environment()) as session:
        jobs = session.queue.purge()
    assert jobs == count, f"{jobs} jobs for {count} texts"
