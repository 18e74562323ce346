"""What is in a snapshot, as lines of text for people: generated, captured, checked, shown."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from snapseed.cli.documents import one_line
from snapseed.cli.layout import Bytes, cut, padded, table, width_of, wrapped
from snapseed.units import size

if TYPE_CHECKING:
    from snapseed.capture.mask.prepare import PreparedMasks
    from snapseed.capture.snapshot import CaptureReport
    from snapseed.capture.subset.plan import SubsetReport
    from snapseed.generate.snapshot import CheckReport, GenerateReport
    from snapseed.report.page import Page
    from snapseed.snapshot.manifest import EntityRecord, Manifest
    from snapseed.snapshot.store import PruneReport
    from snapseed.snapshot.store_copy import CopyReport


def _headline(manifest: Manifest) -> str:
    counts = f"{manifest.rows:,} rows, {size(manifest.bytes)}"
    if manifest.scale:
        source = f"seed {manifest.seed}, scale {manifest.scale:,}"
    else:
        source = f"captured from PostgreSQL {manifest.capture and manifest.capture.server}"
    return f"snapshot {manifest.name}: {counts}, {source}"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _entities(manifest: Manifest) -> list[str]:
    rows = [
        [
            entity.name,
            entity.rows,
            Bytes(entity.bytes),
            entity.file_count,
            "in lists" if entity.lists else len(entity.chunks),
            entity.fingerprint,
        ]
        for entity in manifest.entities
    ]
    return table(["entity", "rows", "size", "files", "chunks", "fingerprint"], rows)


def generated(report: GenerateReport, *, quiet: bool = False) -> Iterator[str]:
    """What was written: `quiet` leaves only the result."""
    manifest = report.manifest
    result = f"{_headline(manifest)}, in {report.seconds:.1f} s"
    yield from () if quiet else _entities(manifest)
    yield from _written(report, result, quiet=quiet)


def copied(report: CopyReport) -> Iterator[str]:
    """What was copied, and what was there already."""
    yield f"from     {report.source}"
    yield f"to       {report.target}"
    yield f"copied   {_files(report.copied_files)}, {size(report.copied_bytes)}"
    yield f"skipped  {_files(report.skipped_files)}, {size(report.skipped_bytes)}: there already"
    yield _headline(report.manifest)
    yield from wrapped(f"identity {report.manifest.identity}")


def pruned(report: PruneReport) -> Iterator[str]:
    """What was removed, or would be."""
    yield from (f"{size(count):>10}  {name}" for name, count in report.removed.items())
    verb = "would remove" if report.dry_run else "removed"
    total = f"{_files(len(report.removed))}, {size(sum(report.removed.values()))}" if report.removed else "nothing"
    yield f"{verb} {total} in {report.place}"
    if report.left:
        yield f"left {_files(report.left)}: one is newer than --older-than, so somebody may be writing"


def captured(report: CaptureReport, *, quiet: bool = False) -> Iterator[str]:
    """What was captured, from where, and that it was proved: `quiet` leaves only the result."""
    result = f"{_headline(report.manifest)}, in {report.seconds:.1f} s, verified against the server"
    if not quiet:
        yield from wrapped(f"source   {report.target} ({report.source})", " " * 9)
        yield from wrapped(f"server   {report.server}", " " * 9)
        header = ["entity", "rows", "size", "time", "fingerprint", "why"]
        rows = [[t.entity, t.rows, Bytes(t.bytes), t.seconds, t.fingerprint, t.why] for t in report.tables]
        yield from table(header, rows)
        if schema := report.manifest.schema_file:
            yield f"schema   {schema.path}, {size(schema.bytes)}"
        notes = [*report.notes, *(_about(report.subset) if report.subset else ())]
        yield from (line for note in notes for line in wrapped(f"note: {note}"))
    yield from _written(report, result, quiet=quiet)


def masks(report: PreparedMasks) -> Iterator[str]:
    """Which columns are masked, which should be, and the lines that would do it."""
    yield f"source   {report.target}"
    yield from wrapped(f"masked   {', '.join(report.masked) or 'no column'}", " " * 9)
    yield from (line for place in report.in_schema for line in wrapped(f"note: the schema is copied as it is: {place}"))
    if report.personal:
        yield f"{len(report.personal)} columns without a rule look personal; check these lines, and add them:"
        yield "[mask]"
        yield from (personal.line for personal in report.personal)
    else:
        yield "every column that looks personal has a rule"


def _about(subset: SubsetReport) -> Iterator[str]:
    """What a subset left out. Missing indexes were told when they were met."""
    if not subset.reasons:
        yield "no row meets the options"
    for each in subset.cuts:
        what = f"{each.rows:,} rows, which belong to {each.parents:,} rows"
        yield f"{each.table}, {each.step}: the limit of {each.limit:,} leaves out {what}"
    if subset.left_out:
        yield f"[capture.children] leaves out {', '.join(subset.left_out)}"
    for orphans in subset.orphans:
        yield f"{orphans.rows:,} rows of {orphans.reference} refer to a row that the source does not have either"


def _written(report: CaptureReport | GenerateReport, result: str, *, quiet: bool) -> Iterator[str]:
    """The result, and which snapshot is where now: `quiet` leaves only the result."""
    yield from wrapped(result)
    if not quiet:
        same = " (the same as before)" if report.replaced == report.manifest.identity else ""
        yield from wrapped(f"identity {report.manifest.identity}{same}")
        yield f"written to {report.folder}"


def regenerated(report: CheckReport) -> Iterator[str]:
    """How a snapshot compares with the same one generated again."""
    manifest = report.manifest
    if report.different:
        yield "regenerated, the snapshot differs:"
        for line in report.different:
            yield from wrapped(f"  {line}", " " * 4)
    else:
        versions = ", ".join(f"{name} {version}" for name, version in manifest.libraries.items())
        same = "same rows, same bytes" if report.same_bytes else f"same rows, other bytes (written by {versions})"
        yield f"snapshot {manifest.name} regenerated: {same} ({manifest.rows:,} rows, {report.seconds:.1f} s)"


def contents(
    manifest: Manifest, samples: Sequence[tuple[EntityRecord, list[dict[str, object]]]], notes: Mapping[str, str]
) -> Iterator[str]:
    """What is in a snapshot: settings, entities, and sample rows after their note, with one column per line."""
    yield _headline(manifest)
    yield f"identity {manifest.identity}"
    yield from _entities(manifest)
    for entity, rows in samples:
        names = max(width_of(column.name) for column in entity.columns)
        types = max(width_of(column.type) for column in entity.columns)
        if rows and (note := notes.get(entity.name)):
            yield from ("", *wrapped(f"{entity.name}: {note}"))
        for number, row in enumerate(rows, 1):
            yield ""
            yield f"{entity.name}, row {number} of {entity.rows:,}"
            for column in entity.columns:
                value = "NULL" if row[column.name] is None else one_line(row[column.name])
                yield cut(f"  {padded(column.name, names)}  {padded(column.type, types)}  {value}")


def page(made: Page, path: Path) -> Iterator[str]:
    """Where a page was written, and what it says of the files and the database."""
    if made.different:
        yield from wrapped(f"the rows in the files are not those of the manifest: {', '.join(made.different)}")
    yield from wrapped(f"database {made.status.environment}: {made.status.state}")
    yield from wrapped(f"snapshot {made.manifest.name}: drawn in {path} ({size(len(made.html.encode()))})")


def read_notes(folder: Path) -> dict[str, str]:
    """The docstring of each generator in `folder`, by entity, on one line. Runs none of their code."""
    notes = {}
    for path in sorted(folder.glob("*.py")):
        with suppress(OSError, SyntaxError, ValueError):
            for node in ast.parse(path.read_bytes()).body:
                if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
                    words = [word for call in node.decorator_list for word in getattr(call, "keywords", ())]
                    named = [getattr(word.value, "value", "") for word in words if word.arg == "name"]
                    notes[(named or [node.name])[0]] = one_line(text)
    return notes
