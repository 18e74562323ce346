"""What GitHub Actions understands: annotations on stdout, a step summary in Markdown, and outputs of the step.

Formats: GitHub's documentation, "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snapseed.ci.metrics import metrics_of
from snapseed.cli.reports.layout import megabytes, rate

if TYPE_CHECKING:
    from snapseed.ci.checks import Check
    from snapseed.ci.report import CiReport

_MARKS = {"passed": "✅", "failed": "❌", "skipped": "⏭"}


def error_annotations(checks: Sequence[Check], snapshot: Path | None) -> list[str]:
    """An error for each failed check, at the file at fault, else at the manifest of the snapshot in folder `snapshot`.

    The path is relative to the working folder where it lies below it, as GitHub wants it; without a folder, or where
    there is no manifest, the error stands at no file.
    """
    lines = []
    for check in checks:
        if check.state != "failed":
            continue
        title = _property(f"snapseed: {check.group} {check.name}")
        lines.append(f"::error {_place(check, snapshot)}title={title}::{_message(check.details or check.message)}")
    return lines


def _place(check: Check, snapshot: Path | None) -> str:
    if snapshot is None:
        return ""
    path = snapshot / (check.path or "manifest.json")
    if not check.path and not path.exists():
        return ""
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"file={_property(str(path))},"


def summary(name: str, checks: Sequence[Check], report: CiReport | None = None) -> str:
    """The Markdown for the page of the run: the outcome, a table of checks, and for a CI run one of speeds."""
    failed = sum(check.state == "failed" for check in checks)
    outcome = "passed" if not failed else f"{failed} of {len(checks)} checks failed"
    if report is not None and report.outcome == "interrupted":
        outcome = "interrupted"
    lines = [f"### snapseed {name}: {outcome}", ""]
    if report is not None:
        lines += [_facts(report), ""]
    lines += ["| | check | | |", "|---|---|---|---|"]
    for check in checks:
        remark = _cell(check.message) or (f"{check.seconds:.2f} s" if check.seconds else "")
        lines.append(f"| {_MARKS[check.state]} | {check.group} | {_cell(check.name)} | {remark} |")
    if report is not None and (entities := metrics_of(report).entities):
        lines += ["", "| entity | rows | sent | copy | rows/s | verify |", "|---|--:|--:|--:|--:|--:|"]
        for entity, found in entities.items():
            cells = [
                entity,
                f"{found.rows:,}",
                megabytes(found.bytes),
                f"{found.seconds:.2f} s",
                rate(found.rows, found.seconds),
                f"{found.verify_seconds:.2f} s",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def outputs(report: CiReport, database_url: str) -> dict[str, str]:
    """What later steps may want to know, by the name of the output."""
    metrics = metrics_of(report)
    return {
        "outcome": str(report.outcome),
        "rows": str(metrics.rows),
        "seconds": f"{report.seconds:.3f}",
        "snapshot-digest": report.manifest.identity if report.manifest else "",
        "database-url": database_url,
    }


def masked(secret: str) -> str:
    """The command that keeps a secret out of the log from here on."""
    return f"::add-mask::{_message(secret)}"


def _facts(report: CiReport) -> str:
    metrics = metrics_of(report)
    server = f" on {report.server.version}" if report.server else ""
    return (
        f"Snapshot `{report.snapshot}`{server}: {metrics.rows:,} rows in {report.seconds:.1f} s,"
        f" {report.retries} retries, {megabytes(metrics.peak_memory_bytes)} of memory at most."
    )


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
