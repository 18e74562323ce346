"""Reports on checks: what differs from the manifest, down to rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snapseed.cli.reports.layout import Document, shortened, table

if TYPE_CHECKING:
    from snapseed.diff.database import DiffReport
    from snapseed.postgres.rowhash import TextKey
    from snapseed.verify.committed import CommittedResult
    from snapseed.verify.database import VerifyReport
    from snapseed.verify.files import FileFinding


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
        "files": _files(report.files),
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


def diff_text(report: DiffReport) -> str:
    """Rows and columns that differ, by entity."""
    lines = [f"target   {report.target} ({report.source})", *(f"finding: {line}" for line in report.tables)]
    for entity in report.entities:
        if entity.agrees:
            lines.append(f"{entity.entity}: no difference")
            continue
        counts = f"{entity.missing_count:,} missing, {entity.extra_count:,} extra, {entity.changed_count:,} changed"
        lines.append(f"{entity.entity}: {counts}")
        lines += [f"  - {_key(key)}" for key in entity.missing]
        lines += [f"  + {_key(key)}" for key in entity.extra]
        for row in entity.changed:
            lines.append(f"  ~ {_key(row.key)}")
            for column, (expected, observed) in row.columns.items():
                lines += [
                    f"      {column}: snapshot {shortened(expected)}",
                    f"      {' ' * len(column)}  database {shortened(observed)}",
                ]
    return "\n".join(lines)


def _key(key: TextKey) -> str:
    return key if isinstance(key, str) else f"({', '.join(key)})"


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


def committed_text(results: Sequence[CommittedResult]) -> str:
    """Each snapshot that git tracks, and everything that is wrong with it."""
    rows = [[r.snapshot, f"{r.rows:,} rows", "DIFFERS" if r.findings else "as its manifest says"] for r in results]
    lines = [table(["snapshot", "", "files"], rows)] if rows else ["no snapshot is committed"]
    lines += [f"finding: {result.snapshot}: {finding}" for result in results for finding in result.findings]
    if any(result.findings for result in results):
        lines.append(
            "NOT verified: see the findings; `snapseed generate` makes a snapshot anew, `git restore` takes it back"
        )
    elif rows:
        lines.append("verified: every committed snapshot holds exactly what its manifest says")
    return "\n".join(lines)


def committed_document(results: Sequence[CommittedResult]) -> Document:
    """The same for programs."""
    return {
        "agrees": not any(result.findings for result in results),
        "snapshots": [
            {
                "snapshot": result.snapshot,
                "identity": result.identity,
                "rows": result.rows,
                "agrees": not result.findings,
                "files": _files(result.findings),
            }
            for result in results
        ],
    }


def _files(findings: Sequence[FileFinding]) -> list[Document]:
    return [{"path": f.path, "entity": f.entity, "problem": f.problem, "chunks": list(f.chunks)} for f in findings]
