"""Every result as a JSON document for programs, made from the report's own fields. Their names are a contract.

Where the document names a field differently or leaves one out, `fields` says so; everything else is `plain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from snapseed.ci.doctor import Requirement
    from snapseed.ci.report import CiReport
    from snapseed.diff.database import DiffReport
    from snapseed.embeddings.queue import DeadJob, QueueStatus
    from snapseed.embeddings.search import Hit
    from snapseed.errors import SnapseedError
    from snapseed.generate.snapshot import CheckReport, GenerateReport
    from snapseed.load.outcome import LoadReport
    from snapseed.load.plan import EmptiedTable, TablePlan
    from snapseed.snapshot.manifest import EntityRecord, Manifest
    from snapseed.testing.reset import ResetReport
    from snapseed.verify.committed import CommittedResult
    from snapseed.verify.database import VerifyReport
    from snapseed.verify.status import EnvironmentStatus

Document = dict[str, object]


def plain(value: object) -> Any:  # noqa: ANN401 - whatever JSON has
    """A report, or any part of one, as JSON has it: dataclasses as objects, what JSON does not know as text."""
    return msgspec.to_builtins(value, str_keys=True, enc_hook=str)


def fields(value: object, names: str) -> Document:
    """These fields of `value`, in this order. `new=path.to.field` takes a field of a part, under another name."""
    document = {}
    for name in names.split():
        new, _, path = name.partition("=")
        document[new] = plain(attrgetter(path or new)(value))
    return document


def failure(error: SnapseedError) -> Document:
    """What a command failed with."""
    return {"type": type(error).__name__, "summary": error.summary, **error.details()}


# ── Snapshots ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _manifest(manifest: Manifest) -> Document:
    return {
        **fields(manifest, "snapshot=name identity seed scale rows bytes libraries"),
        "entities": [
            {**fields(entity, "name rows bytes"), "files": len(entity.files), "fingerprint": entity.fingerprint}
            for entity in manifest.entities
        ],
    }


def generated(report: GenerateReport) -> Document:
    """What was written."""
    return {**_manifest(report.manifest), **fields(report, "folder seconds replaced")}


def regenerated(report: CheckReport) -> Document:
    """How a snapshot compares with the same one generated again."""
    return fields(report, "snapshot=manifest.name same_rows same_bytes different seconds")


def shown(manifest: Manifest, samples: Sequence[tuple[EntityRecord, list[dict[str, object]]]]) -> Document:
    """What is in a snapshot, with sample rows by entity."""
    rows = {
        entity.name: [{name: _value(value) for name, value in row.items()} for row in rows] for entity, rows in samples
    }
    return {**_manifest(manifest), "samples": rows}


def _value(value: object) -> object:
    if isinstance(value, list):
        return [_value(item) for item in value]
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    return value if isinstance(value, str | int | float | bool | None) else " ".join(str(value).split())


# ── Loads ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def loaded(report: LoadReport) -> Document:
    """What was loaded, or with --dry-run what would be."""
    plan = report.plan
    return {
        **fields(report, "environment target source server snapshot=manifest.name"),
        **fields(report, "identity=manifest.identity dry_run mode=plan.mode already_loaded schema_created"),
        "verified": bool(report.verified),
        **fields(report, "seconds phases"),
        "plan": [
            {
                "entity": step.entity.name,
                "table": str(step.table),
                "rows": step.entity.rows,
                "copy": "binary" if step.binary else "text",
                **fields(step, "empty_by freeze staged unlogged=make_unlogged rebuild=rebuilt"),
                "disable": _disabled(step),
                "sequences": [sequence.name for sequence in step.sequences],
                "reasons": list(step.reasons),
            }
            for step in plan.tables
        ],
        "children": [
            {
                "table": str(child.table),
                "empty_by": str(child.empty_by),
                "disable": _disabled(child),
                "reasons": list(child.reasons),
            }
            for child in plan.children
        ],
        "settings": [fields(setting, "name value reason") for setting in plan.settings],
        "entities": plain(report.entities),
    }


def _disabled(step: TablePlan | EmptiedTable) -> list[str]:
    """The triggers and rules that are off during the load."""
    return [*(trigger.name for trigger in step.disable_triggers), *(rule.name for rule in step.disable_rules)]


def status(states: Sequence[EnvironmentStatus]) -> Document:
    """What is loaded where."""
    record = "snapshot identity seed scale rows tables loaded_at version role"
    return {
        "environments": [
            {
                **fields(item, "environment target state"),
                "loaded": item.loaded
                and {
                    **fields(item.loaded, record),
                    # A numeric column, because a seed may be too large for a bigint.
                    "seed": int(item.loaded.seed),
                    "loaded_at": item.loaded.loaded_at.isoformat(),
                },
            }
            for item in states
        ]
    }


def reset(report: ResetReport) -> Document:
    """What was done to the database."""
    return {
        **fields(report, "environment target source server snapshot=manifest.name"),
        **fields(report, "identity=manifest.identity rows=manifest.rows"),
        "done": "loaded" if report.loaded else "copied",
        **fields(report, "template sessions_ended=sessions cleared seconds phases"),
    }


# ── Checks ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_FILE = "path entity problem chunks"
_CHUNK = "number path first_key expected_rows=expected.rows observed_rows=observed.rows"


def verified(report: VerifyReport) -> Document:
    """What was compared, and everything that differs."""
    return {
        **fields(report, "environment target snapshot=manifest.name identity=manifest.identity agrees"),
        "files": [fields(file, _FILE) for file in report.files],
        "tables": list(report.tables),
        "entities": [
            {
                **fields(entity, "entity agrees"),
                "expected": {"rows": entity.expected.rows, "fingerprint": str(entity.expected)},
                "observed": {"rows": entity.observed.rows, "fingerprint": str(entity.observed)},
                "chunks": [fields(chunk, _CHUNK) for chunk in entity.chunks],
                "seconds": entity.seconds,
            }
            for entity in report.entities
        ],
        "phases": plain(report.phases),
    }


def committed(results: Sequence[CommittedResult]) -> Document:
    """Each snapshot that git tracks, and everything that is wrong with it."""
    return {
        "agrees": not any(result.findings for result in results),
        "snapshots": [
            {
                **fields(result, "snapshot identity rows"),
                "agrees": not result.findings,
                "files": [fields(file, _FILE) for file in result.findings],
            }
            for result in results
        ],
    }


def differences(report: DiffReport) -> Document:
    """Rows and columns that differ, by entity."""
    counts = (
        "entity missing=missing_count extra=extra_count changed=changed_count missing_keys=missing extra_keys=extra"
    )
    return {
        **fields(report, "environment target agrees tables"),
        "entities": [
            {
                **fields(entity, counts),
                "changed_rows": [
                    {
                        "key": plain(row.key),
                        "columns": {
                            name: {"snapshot": old, "database": new} for name, (old, new) in row.columns.items()
                        },
                    }
                    for row in entity.changed
                ],
            }
            for entity in report.entities
        ],
    }


def doctor(requirements: Sequence[Requirement]) -> Document:
    """Each thing that a load needs."""
    return {
        "ready": not any(item.error for item in requirements),
        "checks": [
            {"name": item.name, "found": item.found, "error": item.error and item.error.details()}
            for item in requirements
        ],
    }


def ci(report: CiReport) -> Document:
    """A run of the CI process. docs/ci-report.md describes its fields."""
    return {
        **fields(report, "environment target source snapshot"),
        "identity": report.manifest and report.manifest.identity,
        **fields(report, "outcome=verdict exit_code step attempts metrics baseline"),
        "slowdowns": [fields(slowdown, "what seconds before factor") for slowdown in report.slowdowns],
        "load": report.load and loaded(report.load),
        "embedding": plain(report.embedding),
        "verify": report.verify and verified(report.verify),
        "error": report.error and failure(report.error),
    }


# ── Embeddings ───────────────────────────────────────────────────────────────────────────────────────────────────────


def queue(name: str, numbers: QueueStatus, dead: Sequence[DeadJob]) -> Document:
    """The numbers of a queue, and its oldest dead jobs."""
    jobs = [{"job": job.payload.decode("utf-8", "replace"), "error": job.error} for job in dead]
    return {"queue": name, **plain(numbers), "oldest_dead": jobs}


def search(hits: Sequence[Hit]) -> Document:
    """The chunks that were found, whole."""
    return {"hits": plain(hits)}
