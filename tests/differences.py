"""The differences of an environment's snapshot and its database, which tests of every part look at."""

from __future__ import annotations

from snapseed.config import Environment, Project
from snapseed.diff.compare import DiffReport, DiffRequest, compare
from snapseed.diff.sides import database_side, snapshot_side


def diff_snapshot(project: Project, environment: Environment, request: DiffRequest | None = None) -> DiffReport:
    """Compare the snapshot of an environment, on the left, with its database."""
    return compare(snapshot_side(environment), database_side(project, environment), request or DiffRequest())
