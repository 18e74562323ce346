"""Reports on loads: the plan, what was done, and what is loaded where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snapseed.cli.reports.layout import Document, megabytes, rate, table

if TYPE_CHECKING:
    from snapseed.load.outcome import LoadReport
    from snapseed.load.plan import EmptiedTable, LoadPlan, TablePlan
    from snapseed.postgres.provenance import LoadRecord
    from snapseed.verify.status import EnvironmentStatus

# A phase that takes less would show as 0.00 s.
_SHOWN_SECONDS = 0.005


def plan_text(plan: LoadPlan) -> str:
    """The load plan, each choice with its reason."""
    lines = []
    for number, step in enumerate(plan.tables, 1):
        lines.append(
            f"{number}. {step.entity.name} -> {step.table}: {step.entity.rows:,} rows, {megabytes(step.entity.bytes)}"
        )
        lines += [f"   - {reason}" for reason in step.reasons]
    for child in plan.children:
        lines.append(f"also emptied: {child.table}")
        lines += [f"   - {reason}" for reason in child.reasons]
    lines += [f"setting {setting.name} = {setting.value}: {setting.reason}" for setting in plan.settings]
    return "\n".join(lines)


def load_text(report: LoadReport) -> str:
    """What was loaded, or with --dry-run what would be."""
    head = [f"target   {report.target} ({report.source})", f"server   {report.server}"]
    head.append(f"snapshot {report.manifest.name} (identity {report.manifest.identity[:16]}…)")
    if report.schema_created:
        head.append("schema   " + ("would be created" if report.dry_run else "created: none of the tables existed"))
    if report.already_loaded:
        return "\n".join([*head, f"already loaded, and not changed since; seen in {report.seconds:.3f} s"])
    if report.dry_run:
        return "\n".join([*head, plan_text(report.plan), "dry run: nothing was changed"])
    rows = [
        [
            load.entity,
            f"{load.rows:,}",
            megabytes(load.bytes),
            f"{load.seconds:.2f} s",
            rate(load.rows, load.seconds),
            *(f"{seconds:.2f} s" for seconds in (load.read, load.encode, load.send, load.server)),
        ]
        for load in report.entities
    ]
    phases = [[name, f"{seconds:.2f} s"] for name, seconds in report.phases.items() if seconds >= _SHOWN_SECONDS]
    total = sum(load.rows for load in report.entities)
    verified = "verified before the commit" if report.verified else "NOT verified (--no-verify)"
    return "\n".join(
        [
            *head,
            table(["entity", "rows", "sent", "time", "rows/s", "read", "encode", "send", "server"], rows),
            _bottleneck(report),
            table(["phase", "time"], phases),
            f"loaded {total:,} rows in {report.seconds:.2f} s, {verified}",
        ]
    )


def _bottleneck(report: LoadReport) -> str:
    """What the COPY waited for most; reading and encoding happen beside it, on a thread of their own."""
    seconds = sum(load.seconds for load in report.entities)
    waits = {
        "the server": sum(load.server for load in report.entities),
        "reading and encoding": sum(load.starved for load in report.entities),
        "sending": sum(load.send for load in report.entities),
    }
    slowest = max(waits, key=lambda name: waits[name])
    return f"limited by {slowest}: {waits[slowest] / max(seconds, 1e-9):.0%} of the time of COPY"


def load_document(report: LoadReport) -> Document:
    """The same for programs."""
    return {
        "environment": report.environment,
        "target": report.target,
        "source": report.source,
        "server": report.server,
        "snapshot": report.manifest.name,
        "identity": report.manifest.identity,
        "dry_run": report.dry_run,
        "mode": str(report.plan.mode),
        "already_loaded": report.already_loaded,
        "schema_created": report.schema_created,
        "verified": bool(report.verified),
        "seconds": report.seconds,
        "phases": dict(report.phases),
        "plan": [
            {
                "entity": step.entity.name,
                "table": str(step.table),
                "rows": step.entity.rows,
                "copy": "binary" if step.binary else "text",
                "empty_by": str(step.empty_by),
                "freeze": step.freeze,
                "staged": step.staged,
                "unlogged": step.make_unlogged,
                "rebuild": step.rebuilt,
                "disable": _disabled(step),
                "sequences": [sequence.name for sequence in step.sequences],
                "reasons": list(step.reasons),
            }
            for step in report.plan.tables
        ],
        "children": [
            {
                "table": str(child.table),
                "empty_by": str(child.empty_by),
                "disable": _disabled(child),
                "reasons": list(child.reasons),
            }
            for child in report.plan.children
        ],
        "settings": [
            {"name": setting.name, "value": setting.value, "reason": setting.reason} for setting in report.plan.settings
        ],
        "entities": [
            {
                "entity": load.entity,
                "rows": load.rows,
                "bytes": load.bytes,
                "seconds": load.seconds,
                "read": load.read,
                "encode": load.encode,
                "starved": load.starved,
                "send": load.send,
                "server": load.server,
            }
            for load in report.entities
        ],
    }


def _disabled(step: EmptiedTable | TablePlan) -> list[str]:
    """The names of the triggers and rules that are off during the load."""
    return [*(trigger.name for trigger in step.disable_triggers), *(rule.name for rule in step.disable_rules)]


def status_text(states: Sequence[EnvironmentStatus]) -> str:
    """What is loaded where."""
    rows = []
    for item in states:
        record = item.loaded
        loaded = f"{record.snapshot} {record.identity[:12]}… ({record.rows:,} rows)" if record else "-"
        when = f"{record.loaded_at:%Y-%m-%d %H:%M:%S} UTC, snapseed {record.version}" if record else "-"
        rows.append([item.environment, item.target, loaded, when, item.state])
    return table(["environment", "target", "loaded", "when", "state"], rows)


def status_document(states: Sequence[EnvironmentStatus]) -> Document:
    """The same for programs."""
    return {
        "environments": [
            {
                "environment": item.environment,
                "target": item.target,
                "state": item.state,
                "loaded": item.loaded and _load_record(item.loaded),
            }
            for item in states
        ]
    }


def _load_record(record: LoadRecord) -> Document:
    return {
        "snapshot": record.snapshot,
        "identity": record.identity,
        "seed": int(record.seed),
        "scale": record.scale,
        "rows": record.rows,
        "tables": record.tables,
        "loaded_at": record.loaded_at.isoformat(),
        "version": record.version,
        "role": record.role,
    }
