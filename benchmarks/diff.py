"""Differences of a million rows, ten of them changed, against verify, reladiff and polars; repairs against loads."""

from __future__ import annotations

from functools import partial

import polars as pl
import psycopg
import reladiff
from psycopg.conninfo import conninfo_to_dict

from benchmarks.measure import Findings, in_seconds, seconds, spreads_in_turns
from benchmarks.workspace import Workspace, project_of
from snapseed import LoadRequest, load_snapshot, verify_snapshot
from snapseed.capture.request import CaptureRequest
from snapseed.capture.snapshot import capture_snapshot
from snapseed.config import Environment, Project
from snapseed.diff.compare import DiffReport, compare
from snapseed.diff.repair import RepairReport, RepairRequest, repair_snapshot
from snapseed.diff.sides import DatabaseSide, Side, SnapshotSide
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.store import open_snapshot, snapshot_of

_ROWS, _CHANGED = 1_000_000, 10
_COLUMNS = ("other_id", "name", "address", "state", "remark", "amount", "share", "active", "created_at")
_CHANGE = """
UPDATE ten_columns SET amount = amount + 1
 WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM ten_columns) AS rows
               WHERE place %% %(step)s = %(step)s / 2)
"""


def measure_diff(workspace: Workspace) -> Findings:
    """Every pair of sides, in turns with what it is compared with."""
    rows = workspace.rows(_ROWS)
    snapshot = workspace.ten_columns(rows)
    project = project_of(snapshot)
    old, new = (_environment(workspace, project, name, snapshot.manifest.name) for name in ("old", "new"))
    for environment in (old, new):
        load_snapshot(project, environment)
    with psycopg.connect(new.database, autocommit=True) as connection:
        connection.execute(_CHANGE, {"step": rows // _CHANGED})
        connection.execute("VACUUM ANALYZE ten_columns")
    with psycopg.connect(old.database, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE ten_columns")
    captured = [_captured(project, environment) for environment in (old, new)]
    folders = [str(open_snapshot(each.snapshots, each.snapshot).place) for each in captured]
    databases = [DatabaseSide(resolve_target(project, environment)) for environment in (old, new)]

    def diff(left: Side, right: Side) -> None:
        _require_ten(compare(left, right))

    def repair() -> float:
        with psycopg.connect(old.database, autocommit=True) as connection:
            connection.execute(_CHANGE, {"step": rows // _CHANGED})
        return seconds(lambda: _require_repaired(repair_snapshot(project, old, RepairRequest(consent=True))))

    one, both, mixed, databases_only, files, read = spreads_in_turns(
        workspace.rounds,
        lambda: seconds(lambda: verify_snapshot(project, new)),
        lambda: seconds(lambda: [verify_snapshot(project, environment) for environment in (old, new)]),
        lambda: seconds(partial(diff, SnapshotSide.of(snapshot_of(captured[0])), databases[1])),
        lambda: seconds(partial(diff, *databases)),
        lambda: seconds(lambda: diff(*(SnapshotSide.of(snapshot_of(each)) for each in captured))),
        lambda: seconds(partial(_by_polars, *folders)),
    )
    # Reladiff takes ten seconds, and the ratio is far from its target.
    beside, peer = spreads_in_turns(
        min(workspace.rounds, 2),
        lambda: seconds(partial(diff, *databases)),
        lambda: seconds(lambda: _by_reladiff(old, new)),
    )
    repaired, loaded = spreads_in_turns(
        min(workspace.rounds, 3),
        repair,
        lambda: seconds(lambda: load_snapshot(project, old, LoadRequest(consent=True))),
    )
    what = f"diff of {rows:,} rows, {_CHANGED} changed"
    return Findings(
        (
            in_seconds(f"{what}: a snapshot and a database", "verify of the database", mixed, one, 1.2),
            in_seconds(f"{what}: two databases", "verify of both", databases_only, both, 1.2),
            in_seconds(f"{what}: two databases", "reladiff", beside, peer, 0.5),
            in_seconds(f"repair of {_CHANGED} of {rows:,} rows", "load", repaired, loaded, 0.1, digits=3),
            in_seconds(f"{what}: two snapshots", "polars: read both, anti-join", files, read, 0.1, digits=3),
        )
    )


def _environment(workspace: Workspace, project: Project, name: str, snapshot: str) -> Environment:
    database = f"diff_{name}"
    workspace.server.ensure_database(database)
    changes = {"name": name, "database": workspace.server.url(database), "snapshot": snapshot, "create_schema": True}
    return project.environment("dev").changed(**changes)


def _captured(project: Project, environment: Environment) -> Environment:
    """An environment whose snapshot is a capture of this one's database."""
    sources = {**environment.sources, "source": "benchmark"}
    captured = environment.changed(snapshot=f"{environment.name}-rows", source=environment.database, sources=sources)
    capture_snapshot(project, captured, CaptureRequest(unmasked=True, schema=False))
    return captured


def _require_repaired(report: RepairReport) -> None:
    assert [(each.deleted, each.updated, each.inserted) for each in report.entities] == [(0, _CHANGED, 0)]


def _require_ten(report: DiffReport) -> None:
    (entity,) = (each for each in report.entities if not each.agrees)
    assert (entity.changed_count, entity.columns) == (_CHANGED, {"amount": _CHANGED})


def _by_reladiff(old: Environment, new: Environment) -> None:
    places = [{"driver": "postgresql", **conninfo_to_dict(each.database)} for each in (old, new)]
    tables = [reladiff.connect_to_table(place, "ten_columns", "id", extra_columns=_COLUMNS) for place in places]
    found = list(reladiff.diff_tables(tables[0], tables[1]))
    assert len(found) == 2 * _CHANGED
    for table in tables:
        table.database.close()


def _by_polars(old: str, new: str) -> None:
    frames = [pl.scan_parquet(f"{folder}/**/*.parquet") for folder in (old, new)]
    found = frames[1].join(frames[0], on=["id", *_COLUMNS], how="anti", nulls_equal=True).collect()
    assert len(found) == _CHANGED
