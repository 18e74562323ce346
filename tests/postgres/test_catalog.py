"""Facts about tables are read correctly from the catalogs, also in cases that trip up other tools."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from snapseed.postgres.catalog import every_table, read_tables
from snapseed.postgres.facts import TableFacts, TableName
from tests.conftest import Connection


def facts(connection: Connection, statements: str, name: TableName | None = None) -> TableFacts:
    """The facts of table t after the statements."""
    connection.execute(statements.encode())
    wanted = name or TableName(None, "t")
    return read_tables(connection, [wanted])[wanted]


def test_a_table_that_is_not_there_has_no_facts(connection: Connection) -> None:
    """Neither a missing table nor a missing schema is an error."""
    assert read_tables(connection, [TableName(None, "nowhere"), TableName("no schema", "t")]) == {}


def test_many_tables_are_read_as_one_is(connection: Connection) -> None:
    """By as many statements; and each has its own columns, indexes, keys, triggers, rules and sequences."""
    connection.execute("""
        CREATE PUBLICATION everything FOR ALL TABLES;
        CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'""")
    for number in range(9):
        connection.execute(
            f"""
            CREATE TABLE t{number} (id serial, up int, n int, PRIMARY KEY (id, n)) PARTITION BY LIST (n);
            CREATE TABLE t{number}_part PARTITION OF t{number} DEFAULT;
            ALTER TABLE t{number} ADD FOREIGN KEY (up, n) REFERENCES t{max(0, number - 1)};
            CREATE UNIQUE INDEX ON t{number} (up, n);
            CREATE TRIGGER quiet AFTER INSERT ON t{number} FOR EACH ROW EXECUTE FUNCTION quiet();
            CREATE RULE nothing AS ON DELETE TO t{number} WHERE false DO NOTHING;
            INSERT INTO t{number} (n) SELECT 1 WHERE {number} % 2 = 0""".encode()
        )
    sent = list[object]()

    class Counting(psycopg.Cursor[Any]):
        def execute(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as psycopg has it
            sent.append(arguments)
            return super().execute(*arguments, **options)

    connection.cursor_factory = Counting
    names = every_table(connection)
    sent.clear()
    together = read_tables(connection, names)
    many = len(sent)
    alone: dict[TableName, TableFacts] = {}
    for name in names:
        sent.clear()
        alone |= read_tables(connection, [name])
        assert len(sent) == many
    assert together == alone
    assert {len(facts.referenced_by) for facts in alone.values()} >= {0, 1}
    assert [facts.has_rows for facts in alone.values()] == [number % 2 == 0 for number in range(9)]


@pytest.mark.parametrize(
    ("schema", "table"), [("public", "t"), ("Mixed Case", "select"), ('quo"te', "dot.ted"), ("ünï", "semi;colon' --")]
)
def test_every_name_is_found_as_it_is_spelled(connection: Connection, schema: str, table: str) -> None:
    """Names are quoted wherever they go into SQL."""
    quoted = ['"' + name.replace('"', '""') + '"' for name in (schema, table)]
    create = f"CREATE SCHEMA IF NOT EXISTS {quoted[0]}; CREATE TABLE {quoted[0]}.{quoted[1]} (id int)"
    found = facts(connection, create, TableName(schema, table))
    assert (found.schema, found.table, found.has_rows) == (schema, table, False)


def test_columns_are_those_that_take_part(connection: Connection) -> None:
    """Dropped columns are gone, domains show their base type; defaults, identity and generation are told apart."""
    found = facts(
        connection,
        """
        CREATE DOMAIN short AS varchar(5) CHECK (VALUE <> '');
        CREATE TYPE mood AS ENUM ('a');
        CREATE TABLE t (gone int, id int GENERATED ALWAYS AS IDENTITY, label short NOT NULL, moods mood[],
                        made timestamptz DEFAULT now(), twice int GENERATED ALWAYS AS (2) STORED);
        ALTER TABLE t DROP COLUMN gone;
        """,
    )
    assert [(column.name, column.type) for column in found.columns] == [
        ("id", "integer"),
        ("label", "character varying(5)"),
        ("moods", "mood[]"),
        ("made", "timestamp with time zone"),
        ("twice", "integer"),
    ]
    identity, label, moods, made, twice = found.columns
    assert (identity.identity, identity.not_null) == ("a", True)
    assert label.not_null
    assert moods.element_kind == "e"
    assert made.has_default
    assert twice.generated == "s"


def test_a_domain_may_take_no_null(connection: Connection) -> None:
    """At whatever depth the NOT NULL is."""
    found = facts(
        connection,
        """
        CREATE DOMAIN sure AS int NOT NULL; CREATE DOMAIN surer AS sure; CREATE DOMAIN free AS int;
        CREATE TABLE t (a sure, b surer, c free, d free NOT NULL);
        """,
    )
    assert [(column.not_null, column.domain_not_null) for column in found.columns] == [
        (True, True),
        (True, True),
        (False, False),
        (True, False),
    ]


def test_an_index_comes_with_what_rebuilds_it(connection: Connection) -> None:
    """Constraint, comments, clustering and statistics targets become statements; all else is a reason to keep it."""
    found = facts(
        connection,
        """
        CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b int UNIQUE DEFERRABLE INITIALLY DEFERRED, c text,
                        EXCLUDE (c WITH =));
        COMMENT ON CONSTRAINT t_pkey ON t IS 'a key'; COMMENT ON INDEX t_pkey IS 'its index';
        CREATE INDEX plain ON t (a);
        CREATE INDEX clustered ON t (b, a); ALTER TABLE t CLUSTER ON clustered;
        CREATE UNIQUE INDEX identity_one ON t (a); ALTER TABLE t REPLICA IDENTITY USING INDEX identity_one;
        CREATE INDEX counted ON t ((a + b)); ALTER INDEX counted ALTER COLUMN 1 SET STATISTICS 500;
        CREATE UNIQUE INDEX partial ON t (c) WHERE a > 0;
        CREATE TABLE other (id int PRIMARY KEY, d text); CREATE VIEW v AS SELECT id, d FROM other GROUP BY id;
        """,
    )
    indexes = {index.name: index for index in found.indexes}
    assert {name: (index.constraint, index.key, index.keep_reason) for name, index in indexes.items()} == {
        "t_pkey": ("p", ("id",), None),
        "t_b_key": ("u", ("b",), None),
        "t_c_excl": ("x", ("c",), "it belongs to an exclusion constraint"),
        "plain": (None, ("a",), None),
        "clustered": (None, ("b", "a"), None),
        "identity_one": (None, ("a",), "it is the replica identity"),
        "counted": (None, (), None),
        "partial": (None, (), None),
    }
    assert indexes["t_pkey"].restore == (
        "ALTER TABLE public.t ADD CONSTRAINT t_pkey PRIMARY KEY USING INDEX t_pkey",
        "COMMENT ON CONSTRAINT t_pkey ON public.t IS 'a key'",
        "COMMENT ON INDEX public.t_pkey IS 'its index'",
    )
    assert indexes["t_b_key"].restore[0].endswith("UNIQUE USING INDEX t_b_key DEFERRABLE INITIALLY DEFERRED")
    assert indexes["clustered"].restore == ("ALTER TABLE public.t CLUSTER ON clustered",)
    assert indexes["counted"].restore == ("ALTER INDEX public.counted ALTER COLUMN 1 SET STATISTICS 500",)
    assert [index.is_deferrable for name in ("id", "b", "c") for index in found.unique_on(name)] == [False, True]
    other = read_tables(connection, [TableName(None, "other")])[TableName(None, "other")]
    assert [index.keep_reason for index in other.indexes] == ["something depends on it, perhaps a view"]


def test_sequences_are_those_that_fill_integer_columns(connection: Connection) -> None:
    """Serial, identity, OWNED BY, and just a default; not a sequence that fills a text column."""
    found = facts(
        connection,
        """
        CREATE SEQUENCE loose; CREATE SEQUENCE labels; CREATE SEQUENCE byhand INCREMENT -2;
        CREATE TABLE t (a serial, b bigint GENERATED BY DEFAULT AS IDENTITY, c int DEFAULT nextval('loose'),
                        d text DEFAULT 'T' || nextval('labels'), e int, f int DEFAULT 5);
        ALTER SEQUENCE byhand OWNED BY t.e;
        """,
    )
    assert {(s.column, s.name, s.owned, s.increment) for s in found.sequences} == {
        ("a", "t_a_seq", True, 1),
        ("b", "t_b_seq", True, 1),
        ("c", "loose", False, 1),
        ("e", "byhand", True, -2),
    }


def test_triggers_are_those_that_would_fire(connection: Connection) -> None:
    """Not disabled triggers, not those for replicas, and not those of foreign keys."""
    found = facts(
        connection,
        """
        CREATE TABLE t (id int PRIMARY KEY, parent int REFERENCES t);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER usual AFTER INSERT ON t EXECUTE FUNCTION f();
        CREATE TRIGGER always AFTER INSERT ON t EXECUTE FUNCTION f(); ALTER TABLE t ENABLE ALWAYS TRIGGER always;
        CREATE TRIGGER off AFTER INSERT ON t EXECUTE FUNCTION f(); ALTER TABLE t DISABLE TRIGGER off;
        CREATE TRIGGER replica AFTER INSERT ON t EXECUTE FUNCTION f(); ALTER TABLE t ENABLE REPLICA TRIGGER replica;
        """,
    )
    assert [(trigger.name, trigger.always) for trigger in found.triggers] == [("always", True), ("usual", False)]


def test_references_say_whether_rows_do_refer(connection: Connection) -> None:
    """A foreign key of the table itself does not count; a row whose key is NULL refers to nothing."""
    found = facts(
        connection,
        """
        CREATE TABLE t (id int PRIMARY KEY, parent int REFERENCES t);
        CREATE TABLE child (t int REFERENCES t ON DELETE CASCADE);
        CREATE TABLE nulls (t int REFERENCES t ON DELETE SET NULL);
        CREATE TABLE "Empty" (t int REFERENCES t);
        INSERT INTO t VALUES (1); INSERT INTO child VALUES (1); INSERT INTO nulls VALUES (NULL);
        """,
    )
    assert found.has_rows
    (key,) = (index.oid for index in found.indexes)
    assert {(other.table, other.index, other.has_rows) for other in found.referenced_by} == {
        ("child", key, True),
        ("nulls", key, False),
        ("Empty", key, False),
    }


def test_triggers_of_partitions_are_listed_one_by_one(connection: Connection) -> None:
    """Each partition has a copy of the table's trigger, and may have triggers of its own."""
    found = facts(
        connection,
        """
        CREATE TABLE t (id int) PARTITION BY LIST (id); CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER every AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
        CREATE TRIGGER own AFTER INSERT ON t_1 FOR EACH ROW EXECUTE FUNCTION f();
        """,
    )
    assert [(trigger.table, trigger.name) for trigger in found.triggers] == [
        ("t", "every"),
        ("t_1", "every"),
        ("t_1", "own"),
    ]


def test_kinds_of_relations_are_told_apart(connection: Connection) -> None:
    """Ordinary tables, partitioned tables and views are distinguished."""
    assert facts(connection, "CREATE TABLE t (id int)").kind == "r"
    assert facts(connection, "DROP TABLE t; CREATE TABLE t (id int) PARTITION BY LIST (id)").kind == "p"
    assert facts(connection, "DROP TABLE t; CREATE VIEW t AS SELECT 1 AS id").kind == "v"
