"""Reports on snapshots: what one holds, what was generated, how it compares when made again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snapseed.cli.reports.layout import Document, megabytes, table

if TYPE_CHECKING:
    from snapseed.generate.snapshot import CheckReport, GenerateReport
    from snapseed.snapshot.manifest import EntityRecord, Manifest


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
