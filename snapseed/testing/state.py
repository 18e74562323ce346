"""What a database holds apart from the rows of a snapshot: fast digests of its schema and of all other rows."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from snapseed.postgres import query
from snapseed.postgres.connect import Connection

# The fingerprint of what this role may not read.
UNREADABLE = "unreadable"


def schema_digest(connection: Connection) -> str:
    """A digest of everything that the catalogs say about this database, except sizes and files.

    Most objects count with their OIDs, which a copy shares with its template. So a table that was dropped and created
    again counts as another one: the digest may differ for the same schema, but is never the same for different ones.
    """
    rows = _rows_of_all(connection, "catalogs")
    rows += connection.execute(query("definitions", __file__)).fetchall()
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def outside_rows(connection: Connection, inside: Collection[int]) -> dict[str, str]:
    """A fingerprint of the contents of each table and sequence that the snapshot does not fill (`inside` has its OIDs).

    Reads all of their rows, without snapseed's own tables. `UNREADABLE` is for what this role may not read.
    """
    rows = _rows_of_all(connection, "outside", {"inside": list(inside)})
    return {str(name): str(fingerprint) for name, fingerprint in rows}


def _rows_of_all(
    connection: Connection, name: str, parameters: Mapping[str, object] | None = None
) -> list[tuple[object, ...]]:
    """The rows of all queries that the query `name` lists, sorted."""
    listed = connection.execute(query(name, __file__), parameters).fetchall()
    together = " UNION ALL ".join(str(statement) for (statement,) in listed)
    return connection.execute(f"{together} ORDER BY 1".encode()).fetchall() if listed else []
