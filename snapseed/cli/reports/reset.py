"""The report on a reset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snapseed.cli.reports.layout import Document

if TYPE_CHECKING:
    from snapseed.testing.reset import ResetReport


def reset_text(report: ResetReport) -> str:
    """What was done to the database, and how long it took."""
    done = "loaded, and a template made of it:" if report.loaded else "back to the template:"
    lines = [
        f"target   {report.target} ({report.source})",
        f"server   {report.server}",
        f"snapshot {report.manifest.name} (identity {report.manifest.identity[:16]}…)",
    ]
    if report.sessions:
        lines.append(f"sessions {report.sessions} ended")
    if report.cleared:
        lines.append(f"cleared  {len(report.cleared)} databases that are no longer of use")
    return "\n".join([*lines, f"{done} {report.manifest.rows:,} rows in {report.seconds:.2f} s"])


def reset_document(report: ResetReport) -> Document:
    """The same for programs."""
    return {
        "environment": report.environment,
        "target": report.target,
        "source": report.source,
        "server": report.server,
        "snapshot": report.manifest.name,
        "identity": report.manifest.identity,
        "rows": report.manifest.rows,
        "done": "loaded" if report.loaded else "copied",
        "template": report.template,
        "sessions_ended": report.sessions,
        "cleared": report.cleared,
        "seconds": report.seconds,
        "phases": report.phases,
    }
