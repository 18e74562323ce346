"""The proof of a capture: the server computes the fingerprint of each table too, as of the same moment."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

from snapseed.capture.connections import Readers, capturing
from snapseed.capture.read import CapturedTable, TableRows
from snapseed.errors import VerificationError
from snapseed.postgres.connect import Session, Target
from snapseed.postgres.rowhash import rows_fingerprint
from snapseed.snapshot.hashing import Fingerprint, combined


def prove(target: Target, readers: Readers, tables: Sequence[TableRows], captured: Sequence[CapturedTable]) -> None:
    """Raise `VerificationError` unless the server computes the same fingerprint of each table as we did."""
    tasks = [partial(_fingerprint, target, rows) for rows in tables]
    differing = [
        f"{read.table.name}: {read.observed.rows:,} rows with fingerprint {read.observed},"
        f" the server has {found.rows:,} with {found}"
        for read, found in zip(captured, readers.share(tasks), strict=True)
        if found != read.observed
    ]
    if differing:
        raise VerificationError(
            "the rows that were read are not those of the database; the snapshot before stays",
            where=target.described,
            observed="; ".join(differing),
            expected="the same rows, as of one moment",
            next_step="this is a bug in snapseed, or in what is between it and PostgreSQL: please report it",
        )


def _fingerprint(target: Target, rows: TableRows, session: Session, _stop: threading.Event) -> Fingerprint:
    sources = rows.sources if rows.everything is None else [rows.everything]
    with capturing(f"verifying {rows.table.name}", target):
        return combined(rows_fingerprint(session, rows.table.columns, source) for source in sources)
