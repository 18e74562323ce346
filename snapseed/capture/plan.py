"""Which rows of each table to read, in which pieces, and what replaces their values: decided before any is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from psycopg import sql

from snapseed.capture.prepare import SourceTable
from snapseed.capture.request import CaptureRequest
from snapseed.postgres import listed
from snapseed.postgres.connect import Connection
from snapseed.postgres.rowhash import between, key_order, key_type
from snapseed.snapshot.manifest import FirstKey

# Subsets and some masks need polars. What needs neither starts without.
if TYPE_CHECKING:
    from snapseed.capture.mask.masks import TableMasks
    from snapseed.capture.mask.prepare import PreparedMasks
    from snapseed.capture.subset.plan import SubsetPlan


@dataclass(frozen=True)
class Piece:
    """What a connection reads at a time: rows of a table, and what replaces values in them. Picklable.

    A source is what follows FROM, without an order: `users WHERE id < 9`. One after the other, and each in the order of
    the key, the sources have the rows in the order of the key; with `is_reordered` of the masked key, once sorted.
    `number` is the place among the pieces of the table.
    """

    table: SourceTable
    sources: Sequence[sql.Composable]
    masks: TableMasks | None = None
    number: int = 0

    @property
    def name(self) -> str:
        """What its files are named by until the table is complete."""
        return f"{self.table.entity}/range-{self.number:05d}"

    @property
    def is_reordered(self) -> bool:
        """Whether the masks change the order of the rows: that of their key, or of whole rows if they have none."""
        key = self.table.key
        return self.masks is not None and (not key or any(column.name in self.masks.rules for column in key))


@dataclass(frozen=True)
class TableRows:
    """The rows of a table: in `pieces` that begin a file each, and in as few `sources` as have all of them."""

    table: SourceTable
    pieces: Sequence[Piece]
    sources: Sequence[sql.Composable]


def plan_rows(
    connection: Connection,
    tables: Sequence[SourceTable],
    request: CaptureRequest,
    masks: PreparedMasks | None,
    subset: SubsetPlan | None,
) -> list[TableRows]:
    """The rows of each table to read: all, those of the subset, or none for a capture of the schema alone."""
    planned = []
    for table in tables:
        own, sources = masks.tables.get(table.name) if masks else None, [table.name.rows()]
        if request.schema_only:
            sources = [sql.SQL("{} WHERE false").format(table.name.rows())]
        elif subset:
            sources = list(subset.sources(table.entity))
        whole, pieces = Piece(table, sources, own), list[Piece]()
        if request.jobs > 1 and not (request.schema_only or subset or whole.is_reordered):
            ranges = enumerate(_ranges(connection, table, request.sizes.part_rows))
            pieces = [Piece(table, [source], own, number) for number, source in ranges]
        planned.append(TableRows(table, pieces or [whole], sources))
    return planned


def _ranges(connection: Connection, table: SourceTable, part_rows: int) -> Iterator[sql.Composed]:
    """A source for the rows of each file, if there are several and an index can find where they begin."""
    if table.key and all(key_type(column.kind()) != "text" for column in table.key):
        bounds: list[FirstKey | None] = [*_first_keys(connection, table, part_rows), None]
        for first, last in pairwise(bounds):
            yield sql.SQL("{} WHERE {}").format(table.name.rows(), between(table.key, first, last))


def _first_keys(connection: Connection, table: SourceTable, part_rows: int) -> list[FirstKey]:
    """The first key of each file, from an index alone where the server can."""
    names = [sql.Identifier(column.name) for column in table.key]
    texts = listed(sql.SQL("{}::text").format(name) for name in names)
    query = sql.SQL(
        "SELECT {} FROM (SELECT {}, row_number() OVER (ORDER BY {}) AS number FROM {}) AS numbered"
        " WHERE number % {} = 1 ORDER BY number"
    ).format(texts, listed(names), key_order(table.key), table.name.rows(), part_rows)
    return [tuple(map(str, row)) for row in connection.execute(query).fetchall()]
