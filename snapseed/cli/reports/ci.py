"""Reports of the CI process."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from snapseed.ci.metrics import Metrics, metrics_of
from snapseed.ci.report import CiReport, Step
from snapseed.cli.reports.layout import Document, megabytes, rate, table
from snapseed.cli.reports.loading import load_document
from snapseed.cli.reports.verification import verify_document, verify_text

# A phase that takes less would show as 0.00 s.
_SHOWN_SECONDS = 0.005


def ci_text(report: CiReport) -> str:
    """Where it ran, findings, and closing tables: entities, and what the time went to."""
    metrics = metrics_of(report)
    lines = [f"target   {report.target} ({report.source})"] if report.target else []
    if report.server:
        lines.append(f"server   {report.server.version}, {report.server.identity}")
    if report.manifest:
        lines.append(f"snapshot {report.manifest.name} (identity {report.manifest.identity[:16]}…)")
    if report.verify and not report.verify.agrees:
        lines.append(verify_text(report.verify))
    lines += [f"finding: {slowdown}" for slowdown in report.slowdowns]
    verified = {entity.entity: entity for entity in report.verify.entities} if report.verify else {}
    entities = [
        [
            name,
            f"{entity.rows:,}",
            megabytes(entity.bytes),
            f"{entity.seconds:.2f} s",
            rate(entity.rows, entity.seconds),
            f"{entity.verify_seconds:.2f} s",
            ("same" if verified[name].agrees else "DIFFERS") if name in verified else "-",
        ]
        for name, entity in metrics.entities.items()
    ]
    if entities:
        lines.append(table(["entity", "rows", "sent", "copy", "rows/s", "verify", "manifest"], entities))
    times = [[name, f"{seconds:.2f} s"] for name, seconds in _times(metrics) if seconds >= _SHOWN_SECONDS]
    if times:
        lines.append(table(["step", "time"], times))
    tries = f"{report.retries} {'retry' if report.retries == 1 else 'retries'}"
    rows = f"{metrics.rows:,} rows, {tries}, {megabytes(metrics.peak_memory_bytes)} of memory at most"
    outcome = "passed" if report.outcome == "passed" else report.outcome.upper()
    lines.append(f"ci {report.environment}: {outcome} in {report.seconds:.1f} s: {rows}")
    return "\n".join(lines)


def _times(metrics: Metrics) -> Iterator[tuple[str, float]]:
    """The steps, and below that of loading the phases of its last attempt."""
    for step, seconds in metrics.steps.items():
        yield step, seconds
        if step == Step.LOAD:
            yield from ((f"  {phase}", of_it) for phase, of_it in metrics.phases.items())


def ci_document(report: CiReport) -> Document:
    """The same for programs. Its fields are described in docs/ci-report.md."""
    error = report.error
    return {
        "environment": report.environment,
        "target": report.target,
        "source": report.source,
        "snapshot": report.snapshot,
        "identity": report.manifest and report.manifest.identity,
        "outcome": str(report.outcome),
        "exit_code": report.exit_code,
        "step": str(report.step),
        "attempts": [dataclasses.asdict(attempt) for attempt in report.attempts],
        "metrics": dataclasses.asdict(metrics_of(report)),
        "baseline": report.baseline,
        "slowdowns": [{**dataclasses.asdict(found), "factor": found.factor} for found in report.slowdowns],
        "load": report.load and load_document(report.load),
        "embedding": report.embedding and dataclasses.asdict(report.embedding),
        "verify": report.verify and verify_document(report.verify),
        "error": error and {"type": type(error).__name__, "summary": error.summary, **error.details()},
    }
