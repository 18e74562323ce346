"""The differences of an environment's snapshot and its database, which tests of every part look at."""

from __future__ import annotations

from snapseed.config import Environment, Project
from snapseed.diff.compare import DiffReport, DiffRequest, compare
from snapseed.diff.sides import DatabaseSide, SnapshotSide
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.store import snapshot_of


def diff_snapshot(project: Project, environment: Environment, request: DiffRequest | None = None) -> DiffReport:
    """Compare the snapshot of an environment, on the left, with its database."""
    sides = SnapshotSide.of(snapshot_of(environment)), DatabaseSide(resolve_target(project, environment))
    return compare(*sides, request or DiffRequest())
