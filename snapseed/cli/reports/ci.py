"""Reports of the CI process and of the doctor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snapseed.cli.reports.layout import Document, table
from snapseed.cli.reports.loading import load_document, load_text
from snapseed.cli.reports.verification import verify_document, verify_text

if TYPE_CHECKING:
    from snapseed.ci.doctor import Check
    from snapseed.ci.process import CiReport


def ci_text(report: CiReport) -> str:
    """Load, verification, and a closing line."""
    parts = [load_text(report.load)] if report.load else []
    parts += [verify_text(report.verify)] if report.verify else []
    outcome = "passed" if report.passed else "FAILED"
    attempts = f"{len(report.attempts)} attempt{'' if len(report.attempts) == 1 else 's'}"
    parts.append(f"ci {report.environment}: {outcome} in {report.seconds:.1f} s, {attempts}")
    return "\n".join(parts)


def ci_document(report: CiReport) -> Document:
    """The same for programs, with the metrics of each phase."""
    error = report.error
    return {
        "environment": report.environment,
        "snapshot": report.snapshot,
        "outcome": "passed" if report.passed else "failed",
        "exit_code": report.exit_code,
        "seconds": report.seconds,
        "peak_memory_bytes": report.peak_memory_bytes,
        "attempts": [
            {"number": attempt.number, "seconds": attempt.seconds, "error": attempt.error}
            for attempt in report.attempts
        ],
        "load": report.load and load_document(report.load),
        "verify": report.verify and verify_document(report.verify),
        "error": error and {"type": type(error).__name__, "summary": error.summary, **error.details()},
    }


def doctor_text(checks: Sequence[Check]) -> str:
    """Each check with what was found, and for each problem what to do."""
    rows = [["MISSING" if check.error else "ok", check.name, check.found] for check in checks]
    lines = [table(["", "check", "found"], rows)]
    for check in checks:
        if check.error:
            lines += [f"{check.name}: {line.strip()}" for line in str(check.error).splitlines()]
    return "\n".join(lines)


def doctor_document(checks: Sequence[Check]) -> Document:
    """The same for programs."""
    return {
        "ready": not any(check.error for check in checks),
        "checks": [
            {"name": check.name, "found": check.found, "error": check.error and check.error.details()}
            for check in checks
        ],
    }
