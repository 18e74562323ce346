"""The formats that CI systems read: JUnit's XML, GitHub's annotations, summaries and outputs, and OpenMetrics.

Each format escapes what means something in it, after `printable` took out what no format should carry.
JUnit: the schema of the Jenkins JUnit plugin, that is testsuites, testsuite, testcase with failure or skipped.
GitHub: its documentation, "Workflow commands for GitHub Actions". OpenMetrics: the specification 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from snapseed.cli.layout import shown
from snapseed.cli.text import entity_cells
from snapseed.printable import printable
from snapseed.redaction import redacted
from snapseed.units import size

if TYPE_CHECKING:
    from snapseed.ci.checks import CheckResult
    from snapseed.ci.report import CiReport

# What means something in GitHub's Markdown, which any punctuation mark with a backslash before it does not.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>&|~$#!:@]|(?<=www)\.)")
_MARKS = {"passed": "✅", "failed": "❌", "skipped": "⏭"}


# ── JUnit ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def junit(name: str, checks: Sequence[CheckResult]) -> str:
    """An XML document with a test suite for each group of checks and a test case for each check."""
    root = ET.Element("testsuites", {"name": name, **_totals(checks)})
    for group, members in groupby(checks, lambda check: check.group):
        cases = list(members)
        suite = ET.SubElement(root, "testsuite", {"name": f"{name}.{group}", **_totals(cases)})
        for check in cases:
            case = ET.SubElement(suite, "testcase", classname=f"{name}.{group}", name=_lines(check.name))
            case.set("time", f"{check.seconds:.3f}")
            if check.path:
                case.set("file", _lines(check.path))
            if check.state == "failed":
                ET.SubElement(case, "failure", message=_lines(check.message)).text = _lines(check.details)
            elif check.state == "skipped":
                ET.SubElement(case, "skipped", message="not reached")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


def _totals(checks: Sequence[CheckResult]) -> dict[str, str]:
    """The attributes that count these checks."""
    return {
        "tests": str(len(checks)),
        "failures": str(sum(check.state == "failed" for check in checks)),
        "errors": "0",
        "skipped": str(sum(check.state == "skipped" for check in checks)),
        "time": f"{sum(check.seconds for check in checks):.3f}",
    }


def _lines(text: str) -> str:
    """The text with harmless lines."""
    return "\n".join(map(printable, text.split("\n")))


# ── GitHub Actions ───────────────────────────────────────────────────────────────────────────────────────────────────


def error_annotations(checks: Sequence[CheckResult], snapshot: Path | None) -> list[str]:
    """One error for each failed check, at the damaged file or else at the manifest in the folder `snapshot`.

    A path below the working folder is relative to it, as GitHub expects. Without a folder or a manifest, the error has
    no file.
    """
    lines = []
    for check in checks:
        if check.state == "failed":
            title = _property(f"snapseed: {check.group} {check.name}")
            lines.append(f"::error {_file(check, snapshot)}title={title}::{_message(check.details)}")
    return lines


def _file(check: CheckResult, snapshot: Path | None) -> str:
    """The file that an annotation points to, empty if there is none."""
    if snapshot is None:
        return ""
    from snapseed.snapshot.manifest import FILE_NAME

    path = snapshot / (check.path or FILE_NAME)
    if not check.path and not path.exists():
        return ""
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"file={_property(str(path))},"


def summary(name: str, checks: Sequence[CheckResult], report: CiReport | None = None) -> str:
    """Markdown for the page of the run: the outcome, a table of checks, and for a CI run a table of speeds."""
    failed = sum(check.state == "failed" for check in checks)
    outcome = "passed" if not failed else f"{failed} of {len(checks)} checks failed"
    if report is not None and report.outcome == "interrupted":
        outcome = "interrupted"
    lines = [f"### snapseed {cell(name)}: {outcome}", ""]
    if report is not None:
        server = f" on {cell(report.server.version)}" if report.server else ""
        rows = f"{report.metrics.rows:,} rows in {report.seconds:.1f} s, {report.metrics.retries} retries"
        memory = f"peak memory {size(report.metrics.peak_memory_bytes)}"
        lines += [f"Snapshot `{report.snapshot}`{server}: {rows}, {memory}.", ""]
    lines += ["| | kind | check | time, or what is wrong |", "|---|---|---|---|"]
    for check in checks:
        remark = cell(check.message) or (f"{check.seconds:.2f} s" if check.seconds else "")
        lines.append(f"| {_MARKS[check.state]} | {cell(check.group)} | {cell(check.name)} | {remark} |")
    if report is not None and report.metrics.entities:
        lines += ["", "| entity | rows | sent | copy | rows/s | verify |", "|---|--:|--:|--:|--:|--:|"]
        lines += [f"| {' | '.join(cell(shown(each)) for each in cells)} |" for cells in entity_cells(report)]
    return "\n".join([*lines, ""])


def masks(url: str, secrets: Sequence[str]) -> list[str]:
    """The commands that keep the secrets of a connection string out of the log: as they are, and in forms of URLs."""
    before, found, after = redacted(url).partition("***")
    as_written = [url[len(before) : len(url) - len(after)]] if found else []
    forms = [*secrets, *map(quote, secrets), *(quote(secret, safe="") for secret in secrets), *as_written]
    return [f"::add-mask::{_encoded(form)}" for form in dict.fromkeys(forms) if form]


def _message(text: str) -> str:
    """A text as the message of a workflow command."""
    return _encoded(_lines(text))


def _encoded(text: str) -> str:
    """A text with the characters escaped that would end a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A text as a property of a workflow command."""
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def cell(text: str) -> str:
    """Text in a table of GitHub's Markdown."""
    return _MARKDOWN.sub(r"\\\1", printable(text.replace("\n", " ")))


# ── OpenMetrics ──────────────────────────────────────────────────────────────────────────────────────────────────────


def openmetrics(report: CiReport) -> str:
    """The metrics of a run as a text file for scrapers, such as the textfile collector of node_exporter."""
    from prometheus_client import CollectorRegistry, Gauge
    from prometheus_client.openmetrics.exposition import generate_latest

    registry, metrics = CollectorRegistry(), report.metrics

    def show(name: str, about: str, values: Mapping[Any, float], *labels: str) -> None:
        """A metric: its value for each tuple of values of these labels."""
        unit = next((unit for unit in ("seconds", "bytes") if name.endswith(unit)), "")
        gauge = Gauge(name, about, ["environment", "snapshot", *labels], registry=registry, unit=unit)
        for of, value in values.items():
            gauge.labels(report.environment, report.snapshot, *of).set(value)

    show("snapseed_ci_passed", "Whether the last run passed.", {(): report.outcome == "passed"})
    of_both = {(metrics.server, report.manifest.identity if report.manifest else ""): 1.0}
    show("snapseed_ci_info", "The server and the identity of the snapshot.", of_both, "version", "identity")
    show("snapseed_ci_seconds", "The whole run.", {(): metrics.seconds})
    show("snapseed_ci_retries", "Attempts after the first, over all steps.", {(): metrics.retries})
    show("snapseed_ci_rows", "Rows loaded.", {(): metrics.rows})
    show("snapseed_ci_peak_memory_bytes", "Peak memory of the process.", {(): metrics.peak_memory_bytes})
    for name, about, label, seconds in (
        ("snapseed_ci_step_seconds", "Each step, with all its attempts.", "step", metrics.steps),
        ("snapseed_load_phase_seconds", "Each phase of the load.", "phase", metrics.phases),
    ):
        show(name, about, {(of,): spent for of, spent in seconds.items()}, label)
    for name, about, field in (
        ("snapseed_entity_rows", "Rows of each entity.", "rows"),
        ("snapseed_entity_copy_bytes", "COPY data of each entity.", "bytes"),
        ("snapseed_entity_copy_seconds", "The COPY of each entity.", "seconds"),
        ("snapseed_entity_verify_seconds", "The verification of each entity after the commit.", "verify_seconds"),
    ):
        show(name, about, {(of,): getattr(entity, field) for of, entity in metrics.entities.items()}, "entity")
    return str(generate_latest(registry), "utf-8")  # type: ignore[no-untyped-call]
