"""A masked capture: what arrives in a copy, and that nothing unmasked is ever written or shown."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from snapseed.capture.request import CaptureRequest
from snapseed.capture.snapshot import CaptureReport, capture_snapshot
from snapseed.config import variable_of
from snapseed.errors import RefusedError
from snapseed.snapshot.store import open_snapshot
from tests.capture.conftest import Captured, filled, project_in
from tests.capture.mask.conftest import SECRET
from tests.command_line import run_command
from tests.conftest import new_database
from tests.projects.state import schema_of

# Two cases: an expression over a column with a unique mask, and a unique index over a masked column and another one.
TABLES = """
CREATE TABLE u (id serial PRIMARY KEY, code text UNIQUE, mail text, born date, died timestamptz, CHECK (born <= died),
  boss int REFERENCES u);
CREATE UNIQUE INDEX ON u (lower(mail));
INSERT INTO u SELECT g, 'tenant-' || g, CASE WHEN g % 2 = 0 THEN 'Canary' ELSE 'canary' END || g || '@x.org',
    date '1950-01-01' + g, timestamptz '1950-01-01 12:00Z' + g * interval '1 day' + g * interval '1 hour', g / 2 + 1
  FROM generate_series(1, 3000) g;
SELECT setval('u_id_seq', 3000);
CREATE TABLE t (id int PRIMARY KEY REFERENCES u, ref uuid, action text, mails text[], note text, UNIQUE (ref, action));
CREATE UNIQUE INDEX ON t (action) WHERE action LIKE 'once%';
INSERT INTO t SELECT g, md5(g::text)::uuid, 'act' || g % 2, ARRAY['canary' || g || '@x.org', NULL], 'Canary'
  FROM generate_series(4, 2500) g;
INSERT INTO t VALUES (1, NULL, 'act1'), (2, NULL, 'act1'), (3, NULL, 'once');
CREATE TABLE keyless (who text, what text);
INSERT INTO keyless SELECT 'canary' || g % 100, 'Canary ' || g FROM generate_series(1, 1000) g;
ANALYZE;
"""
RULES = """
[environments.dev]
[mask]
"u.id" = "number"
"u.code" = "text"
"u.mail" = "email"
"u.born" = "date"
"u.died" = "date"
"t.ref" = "uuid"
"t.mails" = "email"
"keyless.who" = "text"
"keyless.what" = "text"
"t.note" = "own_masks:mask"
"""
FUNCTION = "def mask(values):\n    return values.str.len_chars().cast(str)\n"


@dataclass(frozen=True)
class Masked:
    """A project with masks, and what it captures."""

    captured: Captured

    def capture(self, **request: object) -> CaptureReport:
        """Capture the source with its masks."""
        project = self.captured.project
        environment = project.environment("dev", {"source": self.captured.url})
        return capture_snapshot(project, environment, CaptureRequest(**request))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def people(server: str) -> Iterator[str]:
    """A database with personal values; tests only read it."""
    with new_database(server) as url:
        yield filled(url, TABLES)


@pytest.fixture
def masked(people: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Masked:
    """A project for this database."""
    monkeypatch.setenv(variable_of("mask_secret"), SECRET)
    captured = project_in(tmp_path, people)
    (tmp_path / "snapseed.toml").write_text(RULES)
    (tmp_path / "own_masks.py").write_text(FUNCTION)
    return Masked(captured)


def canaries(folder: Path) -> list[Path]:
    """The files below a folder that have an unmasked value in them, or the secret."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if any(word in path.read_bytes() for word in (b"anary", SECRET.encode()))]


def test_a_masked_copy_has_the_same_form_and_no_value_of_the_source(masked: Masked, people: str, database: str) -> None:
    """Unique indexes, foreign keys and checks hold; equal values are equal everywhere; dates of a row keep order."""
    report = masked.capture(jobs=2)
    record = report.manifest.capture
    assert record
    columns = ("born", "boss", "code", "died", "id", "mail")
    assert record.masked[-6:] == tuple(f"u.{name}" for name in columns)
    assert masked.capture().manifest == report.manifest
    assert canaries(report.folder.parent) == []
    filled(database, schema_of(people))
    assert len(masked.captured.load(database).verified) == 3
    with psycopg.connect(database) as copy, psycopg.connect(people) as source:
        # Nothing of a column came through, and no two values became one.
        for column in ("u.code", "u.mail", "t.ref", "keyless.who"):
            table, name = column.split(".")
            query = f"SELECT array_agg(DISTINCT {name}::text) FROM {table}"  # noqa: S608 - names of ours
            made, real = (connection.execute(query.encode()).fetchall()[0][0] for connection in (copy, source))
            assert not set(made) & (set(real) - {None})
            assert len(made) == len(real)
        # What is equal stays equal, and dates of a row keep their distance.
        for query in (
            "SELECT count(*) FROM u JOIN t USING (id) WHERE t.mails[1] = u.mail AND t.mails[2] IS NULL",
            "SELECT count(*), count(DISTINCT died - born), max(died - born) FROM u",
            "SELECT count(*) FROM u a JOIN u b ON a.boss = b.id",
        ):
            assert copy.execute(query).fetchone() == source.execute(query).fetchone()
        # The sequence goes on behind the masked keys.
        assert copy.execute("INSERT INTO u DEFAULT VALUES RETURNING id > 3000").fetchone() == (True,)


def test_rows_lie_in_the_order_of_the_masked_key(masked: Masked) -> None:
    """As in any other snapshot."""
    masked.capture()
    snapshot = open_snapshot(masked.captured.project.snapshots, "dev")
    entity = snapshot.manifest.entity("u")
    assert entity
    keys = [int(str(row["id"])) for row in snapshot.first_rows(entity, 3_000)]
    assert keys == sorted(set(keys))
    assert keys != list(range(1, 3_001))


def test_another_secret_gives_other_values(masked: Masked, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same form: as many rows and bytes, or nearly."""
    first = masked.capture().manifest
    monkeypatch.setenv(variable_of("mask_secret"), SECRET + "!")
    second = masked.capture().manifest
    assert first.rows == second.rows
    assert {e.name for e in first.entities if e.fingerprint == second.entity(e.name).fingerprint} == set()  # type: ignore[union-attr]


def test_a_capture_without_rules_is_refused_before_a_row_is_read(masked: Masked) -> None:
    """And leaves the old snapshot as it was. `unmasked` copies all values as they are."""
    old = masked.capture().manifest.identity
    (masked.captured.folder / "snapseed.toml").write_text("[environments.dev]\n")
    with pytest.raises(RefusedError):
        masked.capture()
    assert open_snapshot(masked.captured.project.snapshots, "dev").manifest.identity == old
    assert canaries(masked.captured.folder / "snapshots") == []
    assert canaries(masked.capture(unmasked=True).folder)


@pytest.mark.parametrize("ending", ["raise ValueError(values.to_list())", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_capture_that_fails_on_the_way_leaves_no_value(ending: str, masked: Masked, people: str) -> None:
    """In no file, also one that a killed process leaves; in no output, also with --verbose; nor the secret."""
    folder = masked.captured.folder
    (folder / "own_masks.py").write_text(f"import os, signal\ndef mask(values):\n    {ending}\n")
    variables = dict(os.environ)
    done = run_command(["capture", "--from", people, "--verbose"], folder, variables, 60)
    assert done.returncode in {2, -signal.SIGKILL}
    assert list(folder.glob("snapshots/.dev.partial/*")) or done.returncode == 2
    assert "anary" not in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert [path for path in canaries(folder) if path.suffix not in {".py", ".pyc"}] == []
