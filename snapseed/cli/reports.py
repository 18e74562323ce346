"""Reports as text for people and as documents for programs: one pair of functions for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snapseed.database.provenance import LoadRecord
    from snapseed.generate.run import CheckReport, GenerateReport
    from snapseed.load.plan import LoadPlan
    from snapseed.load.run import LoadReport
    from snapseed.snapshot.manifest import EntityRecord, Manifest
    from snapseed.verify.diff import DiffReport
    from snapseed.verify.run import VerifyReport
    from snapseed.verify.status import EnvironmentStatus

Document = dict[str, object]

_MEGABYTES_FROM = 100_000
# A phase that takes less would show as 0.00 s.
_SHOWN_SECONDS = 0.005
_SHOWN_CHARACTERS = 100


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under a header; those that hold numbers in every row are set to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    right = [bool(rows) and all(row[column][:1].isdigit() for row in rows) for column in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def megabytes(size: float) -> str:
    """A size for people."""
    return f"{size / 1e6:,.1f} MB" if size >= _MEGABYTES_FROM else f"{size / 1e3:,.1f} kB"


def rate(rows: int, seconds: float) -> str:
    """Rows per second for people."""
    return f"{rows / seconds:,.0f}" if seconds > 0 else "-"


def headline(manifest: Manifest) -> str:
    """A snapshot in one line."""
    size = megabytes(manifest.bytes)
    return f"snapshot {manifest.name}: {manifest.rows:,} rows, {size}, seed {manifest.seed}, scale {manifest.scale:,}"


def manifest_text(manifest: Manifest) -> str:
    """What a snapshot holds, an entity a line."""
    rows = [
        [
            entity.name,
            f"{entity.rows:,}",
            megabytes(entity.bytes),
            str(len(entity.files)),
            str(len(entity.chunks)),
            entity.fingerprint,
        ]
        for entity in manifest.entities
    ]
    return table(["entity", "rows", "size", "files", "chunks", "fingerprint"], rows)


def manifest_document(manifest: Manifest) -> Document:
    """The same for programs."""
    return {
        "snapshot": manifest.name,
        "identity": manifest.identity,
        "seed": manifest.seed,
        "scale": manifest.scale,
        "rows": manifest.rows,
        "bytes": manifest.bytes,
        "libraries": manifest.libraries,
        "entities": [
            {
                "name": entity.name,
                "rows": entity.rows,
                "bytes": entity.bytes,
                "files": len(entity.files),
                "fingerprint": entity.fingerprint,
            }
            for entity in manifest.entities
        ],
    }


def generate_text(report: GenerateReport) -> str:
    """What was written."""
    manifest = report.manifest
    same = report.replaced == manifest.identity
    return "\n".join(
        [
            manifest_text(manifest),
            f"{headline(manifest)}, in {report.seconds:.1f} s",
            f"identity {manifest.identity}" + (" (the same as before)" if same else ""),
            f"written to {report.folder}",
        ]
    )


def generate_document(report: GenerateReport) -> Document:
    """The same for programs."""
    return {
        **manifest_document(report.manifest),
        "folder": str(report.folder),
        "seconds": report.seconds,
        "replaced": report.replaced,
    }


def check_text(report: CheckReport) -> str:
    """How the snapshot compares with the same one made again."""
    if report.different:
        return "\n".join(["made again, the snapshot is not the same:", *(f"  {line}" for line in report.different)])
    versions = ", ".join(f"{name} {version}" for name, version in report.manifest.libraries.items())
    same = "same rows, same bytes" if report.same_bytes else f"same rows, other bytes: written by {versions}"
    return f"snapshot {report.manifest.name} made again: {same} ({report.manifest.rows:,} rows, {report.seconds:.1f} s)"


def check_document(report: CheckReport) -> Document:
    """The same for programs."""
    return {
        "snapshot": report.manifest.name,
        "same_rows": report.same_rows,
        "same_bytes": report.same_bytes,
        "different": list(report.different),
        "seconds": report.seconds,
    }


def plan_text(plan: LoadPlan) -> str:
    """The load plan, each choice with its reason."""
    lines = []
    for number, step in enumerate(plan.tables, 1):
        lines.append(
            f"{number}. {step.entity.name} -> {step.table}: {step.entity.rows:,} rows, {megabytes(step.entity.bytes)}"
        )
        lines += [f"   - {reason}" for reason in step.reasons]
        if step.sequences:
            lines.append(
                f"   - sequences set behind the loaded keys: {', '.join(sequence.name for sequence in step.sequences)}"
            )
    return "\n".join(lines)


def load_text(report: LoadReport) -> str:
    """What was loaded, or with --dry-run what would be."""
    head = [f"target   {report.target} ({report.source})", f"server   {report.server}"]
    head.append(f"snapshot {report.manifest.name} (identity {report.manifest.identity[:16]}…)")
    if report.schema_created:
        head.append("schema   " + ("would be created" if report.dry_run else "created: none of the tables existed"))
    if report.dry_run:
        return "\n".join([*head, plan_text(report.plan), "dry run: nothing was changed"])
    rows = [
        [load.entity, f"{load.rows:,}", megabytes(load.bytes), f"{load.seconds:.2f} s", rate(load.rows, load.seconds)]
        for load in report.entities
    ]
    phases = [[name, f"{seconds:.2f} s"] for name, seconds in report.phases.items() if seconds >= _SHOWN_SECONDS]
    total = sum(load.rows for load in report.entities)
    verified = "verified before the commit" if report.verified else "NOT verified (--no-verify)"
    return "\n".join(
        [
            *head,
            table(["entity", "rows", "sent", "time", "rows/s"], rows),
            table(["phase", "time"], phases),
            f"loaded {total:,} rows in {report.seconds:.2f} s, {verified}",
        ]
    )


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
        "schema_created": report.schema_created,
        "verified": bool(report.verified),
        "seconds": report.seconds,
        "phases": report.phases,
        "plan": [
            {
                "entity": step.entity.name,
                "table": str(step.table),
                "rows": step.entity.rows,
                "copy": "binary" if step.binary else "text",
                "empty_by": step.empty_by,
                "freeze": step.freeze,
                "rebuild": step.rebuilt,
                "reasons": list(step.reasons),
            }
            for step in report.plan.tables
        ],
        "entities": [
            {
                "entity": load.entity,
                "rows": load.rows,
                "bytes": load.bytes,
                "seconds": load.seconds,
                "read": load.read,
                "encode": load.encode,
                "send": load.send,
            }
            for load in report.entities
        ],
    }


def verify_text(report: VerifyReport) -> str:
    """What was compared, and everything that differs."""
    lines = []
    if report.target:
        lines.append(f"target   {report.target} ({report.source})")
    files = sum(len(entity.files) for entity in report.manifest.entities)
    lines.append(
        f"files    {files} against the manifest: "
        + (f"{len(report.files)} differ" if report.files else "all as they were written")
    )
    rows = [
        [e.entity, f"{e.observed.rows:,}", str(e.observed), "same" if e.agrees else "DIFFERS", f"{e.seconds:.2f} s"]
        for e in report.entities
    ]
    if rows:
        lines.append(table(["entity", "rows", "fingerprint", "manifest", "time"], rows))
    lines += [f"finding: {finding}" for finding in [*map(str, report.files), *report.tables]]
    lines += [f"finding: {line}" for entity in report.entities for line in entity.lines()]
    what = "the files and the database hold" if report.target else "the files hold"
    lines.append(
        f"verified: {what} exactly what the manifest says" if report.agrees else "NOT verified: see the findings"
    )
    return "\n".join(lines)


def verify_document(report: VerifyReport) -> Document:
    """The same for programs."""
    return {
        "environment": report.environment,
        "target": report.target,
        "snapshot": report.manifest.name,
        "identity": report.manifest.identity,
        "agrees": report.agrees,
        "files": [
            {"path": f.path, "entity": f.entity, "problem": f.problem, "chunks": list(f.chunks)} for f in report.files
        ],
        "tables": report.tables,
        "entities": [
            {
                "entity": entity.entity,
                "agrees": entity.agrees,
                "expected": {"rows": entity.expected.rows, "fingerprint": str(entity.expected)},
                "observed": {"rows": entity.observed.rows, "fingerprint": str(entity.observed)},
                "chunks": [
                    {
                        "number": c.number,
                        "path": c.path,
                        "first_key": c.first_key,
                        "expected_rows": c.expected.rows,
                        "observed_rows": c.observed.rows,
                    }
                    for c in entity.chunks
                ],
                "seconds": entity.seconds,
            }
            for entity in report.entities
        ],
        "phases": report.phases,
    }


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


def show_text(manifest: Manifest, samples: Sequence[tuple[EntityRecord, list[Document]]], width: int) -> str:
    """What is in a snapshot: settings, entities, and some rows of each, a column a line."""
    lines = [
        headline(manifest),
        f"identity {manifest.identity}",
        manifest_text(manifest),
    ]
    for entity, rows in samples:
        for number, row in enumerate(rows):
            lines.append(f"\n{entity.name}, row {number + 1} of {entity.rows:,}")
            names = max(len(column.name) for column in entity.columns)
            types = max(len(column.type) for column in entity.columns)
            for column in entity.columns:
                text = f"  {column.name:<{names}}  {column.type:<{types}}  {_cell(row[column.name])}"
                lines.append(text if len(text) <= width else text[: width - 1] + "…")
    return "\n".join(lines)


def show_document(manifest: Manifest, samples: Sequence[tuple[EntityRecord, list[Document]]]) -> Document:
    """The same for programs."""
    rows = {
        entity.name: [{name: _plain(value) for name, value in row.items()} for row in rows] for entity, rows in samples
    }
    return {**manifest_document(manifest), "samples": rows}


def _cell(value: object) -> str:
    if value is None:
        return "NULL"
    return " ".join(str(value).split()) if not isinstance(value, bytes) else f"\\x{value.hex()}"


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else _cell(value)


def diff_text(report: DiffReport) -> str:
    """Rows and columns that differ, by entity."""
    lines = [f"target   {report.target} ({report.source})", *(f"finding: {line}" for line in report.tables)]
    for entity in report.entities:
        if entity.agrees:
            lines.append(f"{entity.entity}: no difference")
            continue
        counts = f"{entity.missing_count:,} missing, {entity.extra_count:,} extra, {entity.changed_count:,} changed"
        lines.append(f"{entity.entity}: {counts}")
        lines += [f"  - {key}" for key in entity.missing]
        lines += [f"  + {key}" for key in entity.extra]
        for row in entity.changed:
            lines.append(f"  ~ {row.key}")
            for column, (expected, observed) in row.columns.items():
                lines += [
                    f"      {column}: snapshot {_shortened(expected)}",
                    f"      {' ' * len(column)}  database {_shortened(observed)}",
                ]
    return "\n".join(lines)


def diff_document(report: DiffReport) -> Document:
    """The same for programs."""
    return {
        "environment": report.environment,
        "target": report.target,
        "agrees": report.agrees,
        "tables": report.tables,
        "entities": [
            {
                "entity": entity.entity,
                "missing": entity.missing_count,
                "extra": entity.extra_count,
                "changed": entity.changed_count,
                "missing_keys": entity.missing,
                "extra_keys": entity.extra,
                "changed_rows": [
                    {
                        "key": row.key,
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


def _shortened(text: str | None) -> str:
    return (
        "NULL"
        if text is None
        else repr(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…")
    )
