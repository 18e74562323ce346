"""The metrics of a CI run as an OpenMetrics text file, for scrapers such as node_exporter's textfile collector.

Format: the OpenMetrics specification 1.0, "ABNF".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from snapseed.ci.metrics import metrics_of

if TYPE_CHECKING:
    from snapseed.ci.report import CiReport

Sample = tuple[dict[str, str], float]


def openmetrics(report: CiReport) -> str:
    """The document: gauges of the last run, with environment and snapshot as labels of each."""
    run = {"environment": report.environment, "snapshot": report.snapshot}
    lines = []
    for name, unit, text, samples in _families(report):
        lines += [f"# TYPE {name} gauge", *([f"# UNIT {name} {unit}"] if unit else []), f"# HELP {name} {text}"]
        for labels, value in samples:
            shown = ",".join(f'{label}="{_escaped(content)}"' for label, content in {**run, **labels}.items())
            lines.append(f"{name}{{{shown}}} {value!r}")
    return "\n".join([*lines, "# EOF", ""])


def _families(report: CiReport) -> Iterator[tuple[str, str, str, list[Sample]]]:
    metrics = metrics_of(report)
    entities = [({"entity": name}, entity) for name, entity in metrics.entities.items()]
    server = {"version": metrics.server, "identity": report.manifest.identity if report.manifest else ""}
    yield "snapseed_ci_passed", "", "Whether the last run has passed.", [({}, float(report.outcome == "passed"))]
    yield "snapseed_ci_info", "", "The server and the identity of the snapshot.", [(server, 1.0)]
    yield "snapseed_ci_seconds", "seconds", "The whole run.", [({}, metrics.seconds)]
    yield "snapseed_ci_retries", "", "Attempts after the first of each step.", [({}, float(metrics.retries))]
    yield "snapseed_ci_rows", "", "Rows loaded.", [({}, float(metrics.rows))]
    yield (
        "snapseed_ci_peak_memory_bytes",
        "bytes",
        "The most memory that the process has held.",
        [({}, float(metrics.peak_memory_bytes))],
    )
    steps = [({"step": name}, seconds) for name, seconds in metrics.steps.items()]
    yield "snapseed_ci_step_seconds", "seconds", "The steps, with all their attempts.", steps
    phases = [({"phase": name}, seconds) for name, seconds in metrics.phases.items()]
    yield "snapseed_load_phase_seconds", "seconds", "The phases of the load.", phases
    yield "snapseed_entity_rows", "", "Rows of each entity.", [(label, float(found.rows)) for label, found in entities]
    sizes = [(label, float(found.bytes)) for label, found in entities]
    yield "snapseed_entity_copy_bytes", "bytes", "COPY data of each entity.", sizes
    copies = [(label, found.seconds) for label, found in entities]
    yield "snapseed_entity_copy_seconds", "seconds", "The COPY of each entity.", copies
    checks = [(label, found.verify_seconds) for label, found in entities]
    yield "snapseed_entity_verify_seconds", "seconds", "The verification of each entity after the commit.", checks


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
