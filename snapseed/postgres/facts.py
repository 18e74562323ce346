"""What is known about tables: what they consist of, what depends on them, and what this role may do with them.

Everything is frozen and read once (`catalog`), so that a plan can be made from it without a connection.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from psycopg import sql


@dataclass(frozen=True)
class TableName:
    """A table's name; without a schema, the search path decides.

    `alone` leaves out tables that inherit from it: its rows are read and deleted with `ONLY`.
    """

    schema: str | None
    table: str
    alone: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}" if self.schema else self.table

    def identifier(self) -> sql.Identifier:
        """Quoted for SQL."""
        return sql.Identifier(self.schema, self.table) if self.schema else sql.Identifier(self.table)

    def rows(self) -> sql.Composed:
        """Quoted for `FROM` and `TRUNCATE`: its own rows, and those of its partitions."""
        return sql.SQL("ONLY {}" if self.alone else "{}").format(self.identifier())


@dataclass(frozen=True)
class ServerFacts:
    """What a load needs to know about the server and the role, apart from the tables.

    There is room for `connection_room` more connections of this role.
    """

    database: str
    role: str
    may_create_temporary: bool
    toast_compressions: tuple[str, ...]
    toast_compression_is_default: bool
    connection_room: int


@dataclass(frozen=True)
class ColumnFacts:
    """One column. `type` is spelled as by `format_type`, for a domain its base type; `kind` is pg_type.typtype.

    `full_type` has the schema of the type also if the role's search path finds it. `catalog_name` is its name in
    pg_type, with the schema: a column of a snapshot that has this type is stored as text, also if we know the type.
    `domains` lie between the column and that type, the outermost first. `not_null`: the column takes no NULL, by its
    own constraint or because of a domain (`domain_not_null`). `labels` are those of an enum, or of an array of enums.
    `is_used`: a view, rule, policy, trigger or generated column depends on it, so that its type cannot be altered.
    `compresses`: the server compresses long values in its default way, since nobody chose storage or compression.
    `may_insert`, `may_select` and `may_update` are privileges of this role.
    """

    name: str
    type: str
    kind: str
    element_oid: int
    element_kind: str | None
    not_null: bool
    has_default: bool
    identity: str
    generated: str
    labels: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    domain_not_null: bool = False
    is_used: bool = False
    compresses: bool = False
    may_insert: bool = True
    may_select: bool = True
    may_update: bool = True
    full_type: str = ""
    catalog_name: str = ""


@dataclass(frozen=True)
class IndexFacts:
    """An index, and the constraint it belongs to: `p` a primary key, `u` unique, None neither.

    `key` are its columns, empty if it has a condition or expressions or is not valid. After a drop, `definition`
    rebuilds it and `restore` adds what that leaves out. `keep_reason` says why it cannot be dropped, None if it can.
    """

    oid: int
    name: str
    definition: str
    is_unique: bool
    key: tuple[str, ...]
    constraint: str | None
    tablespace: str
    restore: tuple[str, ...]
    keep_reason: str | None
    is_deferrable: bool = False


@dataclass(frozen=True)
class ConstraintFacts:
    """A constraint of the table: `definition` adds it, and `restore` adds what that leaves out."""

    name: str
    definition: str
    restore: tuple[str, ...]


@dataclass(frozen=True)
class ForeignKeyFacts(ConstraintFacts):
    """A foreign key of the table, with the table and the index it refers to. Otherwise like an index.

    `is_required`: none of its columns can be NULL, so every row needs a row in the other table. `is_checked`: new rows
    are checked; they are not if its triggers are off. `above` are the tables that the other one is a partition of,
    `below` its own partitions. `operators` are SQL: each compares one of `target_columns` with the one of `columns`
    that refers to it. `has_rows`: the other table has rows; None if this role may not look.
    """

    references: int
    references_name: str
    index: int
    is_required: bool
    keep_reason: str | None
    deferrable: bool = False
    is_checked: bool = True
    above: tuple[int, ...] = ()
    below: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()
    target_columns: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    has_rows: bool | None = None

    @property
    def targets(self) -> frozenset[int]:
        """The table that it refers to, and the tables that that one is a partition of."""
        return frozenset((self.references, *self.above))


@dataclass(frozen=True)
class TriggerFacts:
    """A user trigger that would fire, of the table or one of its partitions.

    `always`: it is enabled ALWAYS. `owned`: this role may disable it.
    """

    schema: str
    table: str
    name: str
    always: bool
    owned: bool = True


@dataclass(frozen=True)
class RuleFacts:
    """A rewrite rule that is in force; `event` is `INSERT`, `UPDATE` or `DELETE`. COPY and TRUNCATE ignore rules."""

    name: str
    event: str
    always: bool


@dataclass(frozen=True)
class SequenceFacts:
    """A sequence that fills an integer column: one that the column owns (serial, identity), or just a default.

    `owned`: the column owns it, and no other table uses it. `may_alter`, `may_set` and `may_look`: this role owns it,
    may call setval, may read its position. `may_enter`: this role may use its schema.
    """

    schema: str
    name: str
    column: str
    increment: int
    minimum: int
    maximum: int
    owned: bool
    may_alter: bool = True
    may_set: bool = True
    may_look: bool = True
    may_enter: bool = True


@dataclass(frozen=True)
class ReferenceFacts:
    """A foreign key of another table that refers to this one: that table, and the index of this one.

    `has_rows`: rows of the other table refer to this one; None if this role may not look. `acts`: they would be deleted
    or changed together with the rows they refer to, instead of blocking their deletion. `above` are the tables that the
    other one is a partition of.
    """

    oid: int
    schema: str
    table: str
    index: int
    has_rows: bool | None
    acts: bool = False
    above: tuple[int, ...] = ()

    def is_among(self, oids: Collection[int]) -> bool:
        """Whether the other table, or a table that it is a partition of, is one of these."""
        return any(oid in oids for oid in (self.oid, *self.above))

    @property
    def name(self) -> TableName:
        """The qualified name of the other table."""
        return TableName(self.schema, self.table)


@dataclass(frozen=True)
class TableFacts:
    """One table as the catalogs know it, with the schema it was found in.

    `kind` is pg_class.relkind and `persistence` relpersistence. `owned`: this role may alter the table; `may_index`: it
    may also create indexes in its schema. `privileges` of this role: DELETE and TRUNCATE on the whole table, SELECT on
    any column, USAGE on the schema. `refuses` has UPDATE and DELETE if the server refuses them, because the table is
    published without a replica identity. `has_update_rule` also counts a rule that is off. The rows of
    `foreign_partitions` are on another server. `extension` is the one that the table was created by, and `citus`
    the kind of table that Citus has made of it.
    """

    oid: int
    schema: str
    table: str
    kind: str
    persistence: str
    owned: bool
    may_index: bool
    privileges: frozenset[str]
    has_rows: bool
    estimated_rows: int
    row_security: bool
    columns: tuple[ColumnFacts, ...]
    indexes: tuple[IndexFacts, ...]
    foreign_keys: tuple[ForeignKeyFacts, ...]
    triggers: tuple[TriggerFacts, ...]
    rules: tuple[RuleFacts, ...]
    sequences: tuple[SequenceFacts, ...]
    referenced_by: tuple[ReferenceFacts, ...]
    refuses: tuple[str, ...] = ()
    has_update_rule: bool = False
    is_published: bool = False
    foreign_partitions: tuple[str, ...] = ()
    extension: str | None = None
    citus: str | None = None

    @property
    def name(self) -> TableName:
        """The qualified name."""
        return TableName(self.schema, self.table, alone=self.kind == "r" and self.citus is None)

    @property
    def is_table(self) -> bool:
        """Whether it is an ordinary or partitioned table, not a view or a foreign table."""
        return self.kind in {"r", "p"}

    def column(self, name: str) -> ColumnFacts | None:
        """The column of this name, if it exists."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def primary_key(self) -> frozenset[str]:
        """Its columns; empty without a primary key."""
        return frozenset(name for index in self.indexes if index.constraint == "p" for name in index.key)

    def unique_on(self, *columns: str) -> list[IndexFacts]:
        """The unique indexes over exactly these columns, in any order.

        `ON CONFLICT` on these columns uses all of them, so none may be deferrable.
        """
        return [index for index in self.indexes if index.is_unique and sorted(index.key) == sorted(columns)]
