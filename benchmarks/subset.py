"""A subset of a large database: 1,000 of a million users and all that belongs to them, by ways to get it.

`python -m benchmarks.subset URL FOLDER` is the way without a tool: joins written by hand, read by ADBC into Parquet.
"""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

import adbc_driver_postgresql.dbapi
import pyarrow.parquet as pq
from psycopg.conninfo import conninfo_to_dict

from benchmarks.measure import Comparison, Findings, Table, in_seconds, seconds, spreads_in_turns
from benchmarks.processes import PROGRAM, peak_memory, process_seconds
from benchmarks.workspace import Workspace
from snapseed import find_project
from snapseed.capture.request import CaptureRequest, subset_request
from snapseed.capture.snapshot import capture_snapshot

_USERS = 1_000_000
_CHOSEN = 1_000
# For the memory of a large subset.
_MANY = 200_000
# The tables of the example `media`, made by the server alone: three shares per user, every other one with a transcript.
_TABLES = """
CREATE TABLE users (id uuid PRIMARY KEY, email text NOT NULL, preferences jsonb NOT NULL, at timestamptz NOT NULL);
CREATE TABLE shares (id uuid PRIMARY KEY, user_id uuid NOT NULL, url text NOT NULL, tags text[], at timestamptz);
CREATE TABLE transcripts (id uuid PRIMARY KEY, share_id uuid NOT NULL, body text NOT NULL, word_count int NOT NULL);
CREATE TABLE embeddings (id uuid PRIMARY KEY, transcript_id uuid NOT NULL, chunk int NOT NULL, vector real[] NOT NULL);
CREATE FUNCTION key(kind int, number bigint) RETURNS uuid IMMUTABLE RETURN
  (lpad(to_hex(number), 8, '0') || '-000' || kind || '-8000-8000-000000000000')::uuid;
INSERT INTO users SELECT key(1, g), 'user' || g || '@example.org', '{"theme": "dark"}', '2025-01-01'::timestamptz
  + g * interval '20 s' FROM generate_series(1, %(users)s) g;
INSERT INTO shares SELECT key(2, g), key(1, (g + 2) / 3), 'https://example.org/' || g,
  ARRAY['one', 'two'], '2025-01-01'::timestamptz + g * interval '7 s' FROM generate_series(1, 3 * %(users)s) g;
INSERT INTO transcripts SELECT key(3, g), key(2, 2 * g), repeat('words of transcript ' || g || ' ', 8), 32
  FROM generate_series(1, 3 * %(users)s / 2) g;
INSERT INTO embeddings SELECT key(4, g), key(3, (g + 1) / 2), g %% 2, ARRAY[g, g + 1, g + 2, g + 3]::real[]
  FROM generate_series(1, 3 * %(users)s) g;
ALTER TABLE shares ADD FOREIGN KEY (user_id) REFERENCES users;
CREATE INDEX ON shares (user_id);
ALTER TABLE transcripts ADD FOREIGN KEY (share_id) REFERENCES shares, ADD UNIQUE (share_id);
ALTER TABLE embeddings ADD FOREIGN KEY (transcript_id) REFERENCES transcripts, ADD UNIQUE (transcript_id, chunk);
VACUUM ANALYZE
"""
_JOINS = {
    "users": "SELECT u.* FROM chosen u",
    "shares": "SELECT s.* FROM chosen u JOIN shares s ON s.user_id = u.id",
    "transcripts": "SELECT t.* FROM chosen u JOIN shares s ON s.user_id = u.id JOIN transcripts t ON t.share_id = s.id",
    "embeddings": """SELECT e.* FROM chosen u JOIN shares s ON s.user_id = u.id JOIN transcripts t ON t.share_id = s.id
                     JOIN embeddings e ON e.transcript_id = t.id""",
}


def measure_subset(workspace: Workspace) -> Findings:
    """Take the subset in turns, each time by a process of its own, from start to exit.

    With pg_sample on the PATH, by that too: `apt install libdbd-pg-perl`, and the program from its repository.
    """
    users, chosen = workspace.rows(_USERS), workspace.rows(_CHOSEN)
    workspace.server.ensure_database("snapseed_subset")
    url = workspace.server.url("snapseed_subset")
    with workspace.connection("subset") as connection:
        for statement in _TABLES.split(";\n"):
            connection.execute((statement % {"users": users}).encode())
    folder = workspace.project.folder / "subset"
    (folder / "joined").mkdir(parents=True)
    (folder / "snapseed.toml").write_text("[environments.dev]\n", encoding="utf-8")
    # Like the others, it takes no schema along.
    ours = [
        *(*PROGRAM, "capture", "--project", str(folder), "--from", url),
        *("--root", "users", "--rows", str(chosen), "--unmasked", "--without-schema"),
    ]
    ways = {
        "snapseed": ours,
        "joins by hand": [sys.executable, "-m", "benchmarks.subset", url, str(folder / "joined"), str(chosen)],
    }
    if shutil.which("pg_sample"):
        ways["pg_sample"] = _pg_sample(url, folder, chosen)
    project = find_project(folder)
    environment = project.environment("dev", {"source": url})
    request = CaptureRequest(subset=subset_request("users", chosen, None, ()), unmasked=True, schema=False)
    call = partial(seconds, partial(capture_snapshot, project, environment, request))
    called, *spreads = spreads_in_turns(
        workspace.rounds, call, *(partial(process_seconds, *way) for way in ways.values())
    )
    times = dict(zip(ways, spreads, strict=True))
    what = f"{chosen:,} of {users:,} users, with all that belongs to them"
    comparisons: list[Comparison] = [
        in_seconds(f"{what}{without}", way, mine, taken, 1.0)
        for without, mine in (("", times["snapseed"]), (", in a process that runs", called))
        for way, taken in times.items()
        if way != "snapseed"
    ]
    rows = [(way, f"{taken.median:.2f} s") for way, taken in [*times.items(), ("snapseed, a call", called)]]
    many = workspace.rows(_MANY)
    memory, larger = peak_memory(*ours), peak_memory(*(str(many) if word == str(chosen) else word for word in ours))
    text = (
        "From the start of a process to its exit, without the schema; snapseed also proves rows and references."
        f" Its peak memory: {memory.cells[0]}; with {many:,} users, so {17 * many // 2:,} rows: {larger.cells[0]}."
    )
    return Findings(tuple(comparisons), (Table("A subset", text, ("way", "time"), rows),))


def _pg_sample(url: str, folder: Path, chosen: int) -> list[str]:
    """pg_sample takes no children, so its conditions say which."""
    place = conninfo_to_dict(url)
    users = f"(SELECT id FROM users ORDER BY id LIMIT {chosen})"  # noqa: S608 - a number of ours, as below
    shares = f"(SELECT id FROM shares WHERE user_id IN {users})"  # noqa: S608
    transcripts = f"(SELECT id FROM transcripts WHERE share_id IN {shares})"  # noqa: S608
    limits = {
        "users": f"id IN {users}",
        "shares": f"user_id IN {users}",
        "transcripts": f"share_id IN {shares}",
        "embeddings": f"transcript_id IN {transcripts}",
    }
    return [
        *("pg_sample", "--data-only", "--force", "--host", str(place["host"]), "--port", str(place["port"])),
        *("--username", str(place["user"]), "--file", str(folder / "sampled.sql")),
        *(f"--limit={table} = {condition}" for table, condition in limits.items()),
        str(place["dbname"]),
    ]


def main(url: str, folder: Path, chosen: int) -> None:
    """Write one Parquet file per table."""
    with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
        for table, query in _JOINS.items():
            first = f"WITH chosen AS (SELECT * FROM users ORDER BY id LIMIT {chosen})"  # noqa: S608 - our own
            cursor.execute(f"{first} {query} ORDER BY id")
            pq.write_table(cursor.fetch_arrow_table(), folder / f"{table}.parquet", compression="zstd")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
