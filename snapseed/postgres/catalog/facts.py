"""Facts about tables: what they are made of, what depends on them, and what this role may do with them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from psycopg import sql


@dataclass(frozen=True)
class TableName:
    """A table as it is asked for; without a schema the search path decides.

    `alone` says that tables which inherit from it are not meant: rows are read and deleted with `ONLY`.
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
        """Quoted for `FROM` and `TRUNCATE`: its own rows, and those of partitions."""
        return sql.SQL("ONLY {}" if self.alone else "{}").format(self.identifier())


@dataclass(frozen=True)
class ServerFacts:
    """What the server is and what this role may do beside the tables, as far as a load depends on it."""

    database: str
    role: str
    may_create_temporary: bool
    toast_compressions: tuple[str, ...]
    toast_compression_is_default: bool


@dataclass(frozen=True)
class ColumnFacts:
    """One column. `type` is `format_type`'s spelling, of a domain the type beneath it; `kind` is pg_type.typtype.

    `domains` are those that stand between the column and that type, the outermost first. `not_null` says that it takes
    no NULL, by itself or by one of them (`domain_not_null`). `labels` are those of an enum, or of an enum's array.
    `is_used`: a view, rule, policy, trigger or generated column rests on it, so that its type cannot be altered.
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
    may_insert: bool = True
    may_select: bool = True
    may_update: bool = True


@dataclass(frozen=True)
class IndexFacts:
    """An index, and the constraint it belongs to: `p` a primary key, `u` unique, None neither.

    `key` are its columns, empty where it has a condition or expressions or is not valid.
    Once dropped, `definition` makes it again and `restore` puts back what that leaves out. `keep_reason` says why it
    cannot be dropped, None where it can.
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
class ForeignKeyFacts:
    """A foreign key of the table, with the table and the index it refers to. Otherwise as for an index.

    `is_required` says that none of its columns can be NULL, so that every row needs a row in the other table;
    `is_checked` that rows which come are checked at all, which is not so where its triggers are off.
    """

    name: str
    definition: str
    references: int
    references_name: str
    index: int
    is_required: bool
    restore: tuple[str, ...]
    keep_reason: str | None
    deferrable: bool = False
    is_checked: bool = True
    above: tuple[int, ...] = ()

    @property
    def targets(self) -> frozenset[int]:
        """The table that it refers to, and those that this is a partition of."""
        return frozenset((self.references, *self.above))


@dataclass(frozen=True)
class TriggerFacts:
    """A user trigger that would fire, of the table or one of its partitions; `always` is how it is enabled.

    `owned`: this role may turn it off.
    """

    schema: str
    table: str
    name: str
    always: bool
    owned: bool = True


@dataclass(frozen=True)
class RuleFacts:
    """A rewrite rule that is in force; `event` is `INSERT`, `UPDATE` or `DELETE`. COPY and TRUNCATE pass rules by."""

    name: str
    event: str
    always: bool


@dataclass(frozen=True)
class SequenceFacts:
    """A sequence that gives an integer column its values: one that it owns (serial, identity), or a mere default.

    `owned`: it is the column's own, and no other table draws from it. `may_alter`, `may_set` and `may_look` say whether
    this role owns it, may call setval, and may read where it stands; `may_enter` whether it may use its schema at all.
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
    """A foreign key of another table that refers to this one: that table, and this one's index.

    `has_rows` says that rows of the other table do refer; None where this role may not look. `acts`: they would be
    deleted or changed along with those that they refer to, not keep them from being deleted. `above` are the tables
    that the other one is a partition of.
    """

    oid: int
    schema: str
    table: str
    index: int
    has_rows: bool | None
    acts: bool = False
    above: tuple[int, ...] = ()

    def is_among(self, oids: Collection[int]) -> bool:
        """Whether the other table, or one that it is a partition of, is one of these."""
        return any(oid in oids for oid in (self.oid, *self.above))

    @property
    def name(self) -> TableName:
        """The qualified name of the table that refers."""
        return TableName(self.schema, self.table)


@dataclass(frozen=True)
class TableFacts:
    """One table as the catalogs know it, with the schema it was found in.

    `kind` is pg_class.relkind and `persistence` relpersistence. `owned` says that this role may alter the table, and
    `may_index` that it may make indexes beside it. `privileges` are those of this role: DELETE and TRUNCATE on the
    whole table, SELECT on any column, USAGE on the schema. `refuses` are UPDATE and DELETE where the server refuses
    them, since the table is published and has no replica identity. `has_update_rule` counts one that is off, too.
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

    @property
    def name(self) -> TableName:
        """The qualified name."""
        return TableName(self.schema, self.table, alone=self.kind == "r")

    @property
    def is_table(self) -> bool:
        """Whether it has rows of its own or in partitions, and is not a view, say."""
        return self.kind in {"r", "p"}

    def column(self, name: str) -> ColumnFacts | None:
        """The column of this name, if there is one."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def primary_key(self) -> frozenset[str]:
        """Its columns; none where there is no primary key."""
        return frozenset(name for index in self.indexes if index.constraint == "p" for name in index.key)

    def unique_on(self, *columns: str) -> list[IndexFacts]:
        """The indexes over just these columns, in any order. `ON CONFLICT` uses all of them, none deferrable."""
        return [index for index in self.indexes if index.is_unique and sorted(index.key) == sorted(columns)]
