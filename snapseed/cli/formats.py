"""The formats that CI systems read: JUnit's XML, GitHub's annotations, summaries and outputs, and OpenMetrics.

JUnit: the schema of the Jenkins JUnit plugin, that is testsuites, testsuite, testcase with failure or skipped.
GitHub: its documentation, "Workflow commands for GitHub Actions". OpenMetrics: the specification 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from snapseed.cli.text import entity_cells, shown, size

if TYPE_CHECKING:
    from snapseed.ci.checks import Check
    from snapseed.ci.report import CiReport

# What XML 1.0 cannot carry at all (section 2.2).
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKS = {"passed": "✅", "failed": "❌", "skipped": "⏭"}


# ── JUnit ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def junit(name: str, checks: Sequence[Check]) -> str:
    """An XML document with a test suite for each group of checks and a test case for each check."""
    root = ET.Element("testsuites", {"name": name, **_totals(checks)})
    for group, members in groupby(checks, lambda check: check.group):
        cases = list(members)
        suite = ET.SubElement(root, "testsuite", {"name": f"{name}.{group}", **_totals(cases)})
        for check in cases:
            case = ET.SubElement(suite, "testcase", _case(f"{name}.{group}", check))
            if check.state == "failed":
                ET.SubElement(case, "failure", message=_xml(check.message)).text = _xml(check.details)
            elif check.state == "skipped":
                ET.SubElement(case, "skipped", message="not reached")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


def _totals(checks: Sequence[Check]) -> dict[str, str]:
    return {
        "tests": str(len(checks)),
        "failures": str(sum(check.state == "failed" for check in checks)),
        "errors": "0",
        "skipped": str(sum(check.state == "skipped" for check in checks)),
        "time": f"{sum(check.seconds for check in checks):.3f}",
    }


def _case(suite: str, check: Check) -> dict[str, str]:
    file = {"file": _xml(check.path)} if check.path else {}
    return {"classname": suite, "name": _xml(check.name), "time": f"{check.seconds:.3f}", **file}


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


# ── GitHub Actions ───────────────────────────────────────────────────────────────────────────────────────────────────


def error_annotations(checks: Sequence[Check], snapshot: Path | None) -> list[str]:
    """One error for each failed check, at the damaged file or else at the manifest in the folder `snapshot`.

    A path below the working folder is relative to it, as GitHub expects. Without a folder or a manifest, the error has
    no file.
    """
    lines = []
    for check in checks:
        if check.state == "failed":
            title = _property(f"snapseed: {check.group} {check.name}")
            text = _message(check.details or check.message)
            lines.append(f"::error {_file(check, snapshot)}title={title}::{text}")
    return lines


def _file(check: Check, snapshot: Path | None) -> str:
    if snapshot is None:
        return ""
    from snapseed.snapshot.manifest import FILE_NAME

    path = snapshot / (check.path or FILE_NAME)
    if not check.path and not path.exists():
        return ""
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"file={_property(str(path))},"


def summary(name: str, checks: Sequence[Check], report: CiReport | None = None) -> str:
    """Markdown for the page of the run: the outcome, a table of checks, and for a CI run a table of speeds."""
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
    if report is not None and report.metrics.entities:
        lines += ["", "| entity | rows | sent | copy | rows/s | verify |", "|---|--:|--:|--:|--:|--:|"]
        lines += [f"| {' | '.join(map(shown, cells))} |" for cells in entity_cells(report)]
    return "\n".join([*lines, ""])


def outputs(report: CiReport, database_url: str) -> dict[str, str]:
    """What later steps of the workflow may need, by the name of the output."""
    return {
        "outcome": str(report.outcome),
        "rows": str(report.metrics.rows),
        "seconds": f"{report.seconds:.3f}",
        "snapshot-digest": report.manifest.identity if report.manifest else "",
        "database-url": database_url,
    }


def masked(secret: str) -> str:
    """The command that keeps a secret out of the rest of the log."""
    return f"::add-mask::{_message(secret)}"


def _facts(report: CiReport) -> str:
    metrics = report.metrics
    server = f" on {report.server.version}" if report.server else ""
    return (
        f"Snapshot `{report.snapshot}`{server}: {metrics.rows:,} rows in {report.seconds:.1f} s,"
        f" {metrics.retries} retries, peak memory {size(metrics.peak_memory_bytes)}."
    )


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


# ── OpenMetrics ──────────────────────────────────────────────────────────────────────────────────────────────────────

# The labels that a value has in addition to environment and snapshot, and the value.
Sample = tuple[dict[str, str], float]


def openmetrics(report: CiReport) -> str:
    """The metrics of a run as a text file for scrapers, such as the textfile collector of node_exporter."""
    from prometheus_client import CollectorRegistry, Gauge
    from prometheus_client.openmetrics.exposition import generate_latest

    registry = CollectorRegistry()
    labels = {"environment": report.environment, "snapshot": report.snapshot}
    for name, help_text, samples in _gauges(report):
        # Without a sample, as for the entities of a load that did not start, the file only describes the gauge.
        names = [*labels, *(samples[0][0] if samples else ())]
        unit = next((unit for unit in ("seconds", "bytes") if name.endswith(unit)), "")
        gauge = Gauge(name, help_text, names, registry=registry, unit=unit)
        for further, value in samples:
            gauge.labels(**labels, **further).set(value)
    return str(generate_latest(registry), "utf-8")  # type: ignore[no-untyped-call]


def _gauges(report: CiReport) -> Iterator[tuple[str, str, list[Sample]]]:
    metrics = report.metrics
    about = {"version": metrics.server, "identity": report.manifest.identity if report.manifest else ""}
    steps: list[Sample] = [({"step": step}, seconds) for step, seconds in metrics.steps.items()]
    phases: list[Sample] = [({"phase": phase}, seconds) for phase, seconds in metrics.phases.items()]
    yield "snapseed_ci_passed", "Whether the last run passed.", [({}, report.outcome == "passed")]
    yield "snapseed_ci_info", "The server and the identity of the snapshot.", [(about, 1)]
    yield "snapseed_ci_seconds", "The whole run.", [({}, metrics.seconds)]
    yield "snapseed_ci_retries", "Attempts after the first, over all steps.", [({}, metrics.retries)]
    yield "snapseed_ci_rows", "Rows loaded.", [({}, metrics.rows)]
    yield "snapseed_ci_peak_memory_bytes", "Peak memory of the process.", [({}, metrics.peak_memory_bytes)]
    yield "snapseed_ci_step_seconds", "Each step, with all its attempts.", steps
    yield "snapseed_load_phase_seconds", "Each phase of the load.", phases
    for name, help_text, field in (
        ("snapseed_entity_rows", "Rows of each entity.", "rows"),
        ("snapseed_entity_copy_bytes", "COPY data of each entity.", "bytes"),
        ("snapseed_entity_copy_seconds", "The COPY of each entity.", "seconds"),
        ("snapseed_entity_verify_seconds", "The verification of each entity after the commit.", "verify_seconds"),
    ):
        yield name, help_text, [({"entity": key}, getattr(found, field)) for key, found in metrics.entities.items()]
