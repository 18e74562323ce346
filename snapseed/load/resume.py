"""Take up a load whose end nobody saw: its connection was lost at the COMMIT, or behind it."""

from __future__ import annotations

from snapseed.config import Environment, Project
from snapseed.load import steps
from snapseed.load.report import LoadReport, Outcome
from snapseed.postgres import locks
from snapseed.postgres.connect import connected
from snapseed.postgres.failures import translated
from snapseed.postgres.provenance import is_recorded
from snapseed.servers.targets import resolve_target


def finish_if_committed(project: Project, environment: Environment, report: LoadReport) -> bool:
    """Whether the load of this report was committed, told by its record; if so, do what was left to do behind it.

    Sets the report's outcome to what is known now. Raises `ServerError` where the server does not answer.
    """
    if report.mark is None or report.outcome is Outcome.UNCHANGED:
        return False
    target = resolve_target(project, environment)
    with connected(target) as connection, translated("looking for the load", report.target):
        with connection.transaction():
            locks.set_limits(connection, environment)
            # The session that was lost may still be at its COMMIT, and holds this lock until it is through.
            locks.lock(connection)
            committed = is_recorded(connection, report.mark)
        report.outcome = Outcome.COMMITTED if committed else Outcome.UNCHANGED
        if committed:
            with report.phase("analyzing"):
                locks.set_limits(connection, environment, for_transaction=False)
                steps.analyze(connection, report.plan)
    return committed
