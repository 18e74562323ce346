"""What the CI process measured, as one flat record: what reports show, scrapers read and baselines keep."""

from __future__ import annotations

from dataclasses import dataclass

from snapseed.ci.report import CiReport


@dataclass(frozen=True)
class EntityMetrics:
    """One entity: rows, bytes of COPY data, seconds of its COPY and of its verification after the commit."""

    rows: int
    bytes: int
    seconds: float
    rows_per_second: float
    verify_seconds: float


@dataclass(frozen=True)
class Metrics:
    """Seconds by step and by phase of the load, entities by name, and what they were measured on.

    A load that failed has the phases and entities it came to.
    """

    rows: int
    bytes: int
    seconds: float
    rows_per_second: float
    retries: int
    peak_memory_bytes: int
    steps: dict[str, float]
    phases: dict[str, float]
    entities: dict[str, EntityMetrics]
    server: str
    settings: dict[str, str]


def metrics_of(report: CiReport) -> Metrics:
    """The metrics of a run, finished or not. `rows_per_second` is over the whole time of the load."""
    load = report.load
    copies = load.entities if load else ()
    checked = {entity.entity: entity.seconds for entity in report.verify.entities} if report.verify else {}
    rows = sum(copy.rows for copy in copies)
    return Metrics(
        rows=rows,
        bytes=sum(copy.bytes for copy in copies),
        seconds=report.seconds,
        rows_per_second=_rate(rows, load.seconds if load else 0.0),
        retries=report.retries,
        peak_memory_bytes=report.peak_memory_bytes,
        steps={str(step): seconds for step, seconds in report.steps.items()},
        phases=dict(load.phases) if load else {},
        entities={
            copy.entity: EntityMetrics(
                rows=copy.rows,
                bytes=copy.bytes,
                seconds=copy.seconds,
                rows_per_second=_rate(copy.rows, copy.seconds),
                verify_seconds=checked.get(copy.entity, 0.0),
            )
            for copy in copies
        },
        server=report.server.version if report.server else "",
        settings=dict(report.server.settings) if report.server else {},
    )


def _rate(rows: int, seconds: float) -> float:
    return rows / seconds if seconds > 0 else 0.0
