"""Reports of the doctor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snapseed.cli.reports.layout import Document, table

if TYPE_CHECKING:
    from snapseed.ci.doctor import Check


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
