"""The rows of a subset, for each kind of reference and rule: the roots, all they refer to, and what belongs to them."""

from __future__ import annotations

import polars as pl
import pytest
from psycopg import sql

from snapseed.capture.subset.fixpoint import closure
from snapseed.capture.subset.graph import Step
from snapseed.capture.subset.selection import read_step
from snapseed.errors import ConfigurationError, UsageError
from snapseed.postgres.connect import Session
from tests.capture.subset.choosing import Options, choose, chosen

# A shop: two roots at the top, a table between, events without a key, and countries that everybody refers to.
SHOP = """
CREATE TABLE countries(code text PRIMARY KEY);
CREATE TABLE users(id int PRIMARY KEY, country text REFERENCES countries);
CREATE TABLE orders(id int PRIMARY KEY, user_id int NOT NULL REFERENCES users, gift_for int REFERENCES users);
CREATE TABLE lines(order_id int REFERENCES orders, number int, PRIMARY KEY (order_id, number));
CREATE TABLE events(order_id int NOT NULL REFERENCES orders, what text);
CREATE TABLE alone(id int PRIMARY KEY);
CREATE INDEX ON orders (user_id); CREATE INDEX ON events (order_id);
INSERT INTO countries VALUES ('de'), ('fr'), ('it'); INSERT INTO alone VALUES (1), (2);
INSERT INTO users VALUES (1, 'de'), (2, NULL), (3, 'fr');
INSERT INTO orders VALUES (10, 1, 3), (11, 1, NULL), (12, 1, NULL), (20, 2, 1), (30, 3, NULL);
INSERT INTO lines SELECT o.id, n FROM orders o, generate_series(1, 2) n;
INSERT INTO events SELECT o.id, w FROM orders o, unnest(ARRAY['paid', 'created']) w;
"""
CASES: dict[str, tuple[str, Options, dict[str, list[object]]]] = {
    "composite and unique targets, a table that refers to itself twice": (
        """CREATE TABLE tenant(id int PRIMARY KEY, code text NOT NULL UNIQUE);
        CREATE TABLE post(id int PRIMARY KEY, tcode text NOT NULL REFERENCES tenant(code), slug text NOT NULL,
          parent_id int REFERENCES post, root_id int REFERENCES post, UNIQUE (tcode, slug));
        CREATE TABLE remark(id int PRIMARY KEY, tcode text NOT NULL, slug text NOT NULL,
          FOREIGN KEY (tcode, slug) REFERENCES post(tcode, slug));
        INSERT INTO tenant VALUES (1,'a'),(2,'b');
        INSERT INTO post VALUES (1,'a','s1',NULL,NULL),(2,'a','s2',1,1),(3,'b','s1',2,1);
        INSERT INTO remark VALUES (1,'b','s1'),(2,'a','s2')""",
        Options(where=["remark: id = 1"]),
        {"remark": [1], "post": [1, 2, 3], "tenant": [1, 2]},
    ),
    "two cycles in one component": (
        """CREATE TABLE a(id int PRIMARY KEY, c_id int); CREATE TABLE b(id int PRIMARY KEY, a_id int REFERENCES a);
        CREATE TABLE c(id int PRIMARY KEY, b_id int REFERENCES b, d_id int);
        ALTER TABLE a ADD FOREIGN KEY (c_id) REFERENCES c; CREATE TABLE d(id int PRIMARY KEY, e_id int);
        CREATE TABLE e(id int PRIMARY KEY, d_id int REFERENCES d, a_id int REFERENCES a);
        ALTER TABLE d ADD FOREIGN KEY (e_id) REFERENCES e; ALTER TABLE c ADD FOREIGN KEY (d_id) REFERENCES d;
        INSERT INTO a VALUES (1,NULL),(2,NULL); INSERT INTO b VALUES (1,1),(2,2);
        INSERT INTO d VALUES (1,NULL),(2,NULL);
        INSERT INTO c VALUES (1,1,1),(2,2,NULL); INSERT INTO e VALUES (1,1,2); UPDATE a SET c_id = id;
        UPDATE d SET e_id = 1 WHERE id = 1; SET CONSTRAINTS ALL IMMEDIATE""",
        Options(where=["a: id = 1"]),
        {"a": [1, 2], "b": [1, 2], "c": [1, 2], "d": [1], "e": [1]},
    ),
    "two columns, one of them NULL": (
        """CREATE TABLE flux(f text, b text, PRIMARY KEY (f, b));
        CREATE TABLE obs(id int PRIMARY KEY, f text, b text, FOREIGN KEY (f, b) REFERENCES flux);
        INSERT INTO flux SELECT 'f'||g, 'b'||g % 3 FROM generate_series(1,300) g;
        INSERT INTO obs SELECT g, 'f'||g, 'b'||g % 3 FROM generate_series(1,300) g;
        INSERT INTO obs VALUES (0,'f1',NULL)""",
        Options("obs", 4),
        {"obs": [0, 1, 2, 3], "flux": ["f1", "f2", "f3"]},
    ),
    "MATCH FULL": (
        """CREATE TABLE p(a int, b int, PRIMARY KEY (a, b)); INSERT INTO p VALUES (1, 1), (1, 2), (2, 2);
        CREATE TABLE c(id int PRIMARY KEY, a int, b int, FOREIGN KEY (a, b) REFERENCES p MATCH FULL);
        INSERT INTO c VALUES (1, 1, 2), (2, NULL, NULL)""",
        Options("c", 2),
        {"c": [1, 2], "p": [1]},
    ),
    "children of children, and no children of parents": (
        SHOP,
        Options("users", 1),
        {
            "countries": ["de", "fr"],
            # 20 is a gift for 1. Its buyer 2 and the receiver 3 of 10 are parents: their other orders stay out.
            "users": [1, 2, 3],
            "orders": [10, 11, 12, 20],
            "lines": [10, 10, 11, 11, 12, 12, 20, 20],
            "events": [10, 10, 11, 11, 12, 12, 20, 20],
        },
    ),
    "limits: a number for each parent row, none, and children of parents": (
        SHOP,
        Options(
            "users",
            1,
            capture={"children": {"orders": 2, "events": False, "lines": {"limit": 1, "of_parents": True}}},
        ),
        {"countries": ["de", "fr"], "users": [1, 2, 3], "orders": [10, 11, 20], "lines": [10, 11, 20]},
    ),
    "children of parents": (
        SHOP,
        Options(where=["lines: order_id = 20 AND number = 2"], capture={"children": {"events": {"of_parents": True}}}),
        {"countries": ["de"], "users": [1, 2], "orders": [20], "lines": [20], "events": [20, 20]},
    ),
    "children of the parents in some tables": (
        """CREATE TABLE film(id int PRIMARY KEY); CREATE TABLE actor(id int PRIMARY KEY);
        CREATE TABLE plays(film int REFERENCES film, actor int REFERENCES actor, PRIMARY KEY (film, actor));
        CREATE TABLE rental(id int PRIMARY KEY, film int REFERENCES film);
        INSERT INTO film VALUES (1), (2), (3); INSERT INTO actor VALUES (1), (2), (3);
        INSERT INTO plays VALUES (1, 1), (1, 2), (2, 2), (3, 2); INSERT INTO rental VALUES (7, 1)""",
        Options("rental", 1, capture={"children": {"plays": {"of_parents": ["film"]}}}),
        {"rental": [7], "film": [1], "plays": [1, 1], "actor": [1, 2]},
    ),
    "periods that overlap": (
        """CREATE TABLE job(id int4range, at daterange, PRIMARY KEY (id, at WITHOUT OVERLAPS));
        CREATE TABLE task(n int PRIMARY KEY, id int4range, at daterange,
          FOREIGN KEY (id, PERIOD at) REFERENCES job (id, PERIOD at));
        INSERT INTO job VALUES ('[1,2)', '[2024-01-01,2024-06-01)'), ('[1,2)', '[2024-06-01,2025-01-01)'),
          ('[1,2)', '[2025-01-01,2026-01-01)'), ('[2,3)', '[2024-01-01,2025-01-01)');
        INSERT INTO task VALUES (1, '[1,2)', '[2024-05-01,2024-07-01)'), (2, '[2,3)', '[2024-05-01,2024-07-01)')""",
        Options("task", 1),
        {"task": [1], "job": ["[1,2)", "[1,2)"]},
    ),
    "a parent that is found to be a child later": (
        SHOP,
        # 2 comes in as the parent of order 20, then as a root.
        Options(where=["orders: id = 20", "users: id = 2"], capture={"children": {"lines": False, "events": False}}),
        {"countries": ["de"], "users": [1, 2], "orders": [20]},
    ),
    "whole tables": (
        SHOP,
        Options("countries", 1, capture={"whole": ["alone", "lines"], "children": {"users": False}}),
        {
            "countries": ["de", "fr"],
            "users": [1, 2, 3],
            "orders": [10, 11, 12, 20, 30],
            "lines": [10, 10, 11, 11, 12, 12, 20, 20, 30, 30],
            "alone": [1, 2],
        },
    ),
    "a condition limits the rows that are counted": (
        SHOP,
        Options("orders", 2, where=["orders: id > 10", "alone: id = 2"]),
        {
            "countries": ["de"],
            "users": [1],
            "orders": [11, 12],
            "lines": [11, 11, 12, 12],
            "events": [11, 11, 12, 12],
            "alone": [2],
        },
    ),
    "references by convention, of several kinds to one column": (
        """CREATE TABLE posts(id bigint PRIMARY KEY, slug text); CREATE TABLE photos(id int PRIMARY KEY);
        CREATE TABLE notes(id int PRIMARY KEY, kind text, about int, of_note int, slug text);
        INSERT INTO posts SELECT g, 's' || g % 2 FROM generate_series(1, 4) g;
        INSERT INTO photos SELECT generate_series(1, 3);
        INSERT INTO notes VALUES (1,'post',2,NULL,NULL), (2,'photo',1,NULL,NULL), (3,'photo',2,2,'s0'),
          (4,'post',9,NULL,NULL)""",
        Options(
            where=["notes: id IN (3, 4)"],
            capture={
                "references": [
                    {"table": "notes", "columns": ["about"], "to": "posts", "where": "kind = 'post' -- of any"},
                    {"table": "notes", "columns": ["about"], "to": "public.photos", "where": "notes.kind = 'photo'"},
                    {"table": "notes", "columns": ["of_note"], "to": "notes", "to_columns": ["id"]},
                    {"table": "notes", "columns": ["slug"], "to": "posts", "to_columns": ["slug"]},
                ]
            },
        ),
        {"notes": [2, 3, 4], "posts": [2, 4], "photos": [1, 2]},
    ),
    "a child of one row that by convention refers to another one too": (
        """CREATE TABLE p(id int PRIMARY KEY, code text); CREATE TABLE c(id int PRIMARY KEY, code text);
        INSERT INTO p VALUES (1, 'x'), (2, 'x'), (3, 'y'); INSERT INTO c VALUES (1, 'x'), (2, 'y')""",
        Options(
            "p",
            1,
            capture={"references": [{"table": "c", "columns": ["code"], "to": "p", "to_columns": ["code"]}]},
        ),
        {"p": [1, 2], "c": [1]},
    ),
    "partitions, and tables that inherit": (
        """CREATE TABLE s(id int, at date, PRIMARY KEY(id, at)) PARTITION BY RANGE (at);
        CREATE TABLE s24 PARTITION OF s FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
        CREATE TABLE s25 PARTITION OF s DEFAULT PARTITION BY LIST (id); CREATE TABLE s25a PARTITION OF s25 DEFAULT;
        CREATE TABLE log(s_id int, s_at date, FOREIGN KEY (s_id, s_at) REFERENCES s) PARTITION BY LIST (s_id);
        CREATE TABLE log1 PARTITION OF log DEFAULT; CREATE TABLE base(id int PRIMARY KEY);
        CREATE TABLE derived() INHERITS (base);
        CREATE TABLE of_base(id int PRIMARY KEY, base_id int REFERENCES base);
        INSERT INTO s VALUES (1,'2024-05-05'),(2,'2025-05-05'),(3,'2025-05-05'); INSERT INTO base VALUES (1);
        INSERT INTO derived VALUES (1), (2); INSERT INTO of_base VALUES (5, 1);
        INSERT INTO log TABLE s; INSERT INTO log TABLE s""",
        Options(where=["s: id < 3", "of_base: true"]),
        {"s": [1, 2], "log": [1, 1, 2, 2], "base": [1], "of_base": [5]},
    ),
    "names and keys that need quotes": (
        r"""CREATE TABLE "Üs""er"("The Id" text PRIMARY KEY, key text);
        CREATE TABLE "select"("from" text PRIMARY KEY, "The Id" text REFERENCES "Üs""er");
        INSERT INTO "Üs""er" VALUES ('a"b'), ('\'), (''), ('{x,y}'), ('NULL'), ('a''b'), ('z');
        INSERT INTO "select" SELECT 'of ' || "The Id", "The Id" FROM "Üs""er" """,
        Options(where=["select: \"from\" <> 'of z'"]),
        {
            "_s_er_80f0e74d": ["", "NULL", "\\", 'a"b', "a'b", "{x,y}"],
            "select": ["of ", "of NULL", "of \\", 'of a"b', "of a'b", "of {x,y}"],
        },
    ),
    "keys of types whose equal values have several texts, and of types of the user's": (
        """CREATE DOMAIN amount AS numeric CHECK (VALUE > 0); CREATE TYPE mood AS ENUM ('sad', 'happy');
        CREATE TABLE n(id amount PRIMARY KEY); CREATE TABLE m(id mood PRIMARY KEY);
        INSERT INTO m VALUES ('happy'), ('sad');
        CREATE TABLE c(id char(3) PRIMARY KEY, n int REFERENCES n, m mood REFERENCES m, d numeric(5, 3) REFERENCES n);
        INSERT INTO n VALUES (1.0), (2.50), (10); INSERT INTO c VALUES ('a', 1, 'sad', 2.5), ('b', 10, 'happy', 1)""",
        Options(where=["c: id = 'a' AND m = 'sad'::mood"], capture={"children": {"c": False}}),
        {"c": ["a"], "n": ["1.0", "2.50"], "m": ["sad"]},
    ),
}


@pytest.mark.parametrize(("schema", "options", "expected"), CASES.values(), ids=CASES)
def test_rows(session: Session, schema: str, options: Options, expected: dict[str, list[object]]) -> None:
    """A subset has exactly these rows, in key order."""
    if "WITHOUT OVERLAPS" in schema and session.info.server_version < 180000:
        pytest.skip("temporal keys came with PostgreSQL 18")
    with chosen(session, schema, options) as subset:
        assert subset.keys == expected


def test_report(session: Session) -> None:
    """The report says why each table has its rows, what was cut or left out, and which indexes are missing."""
    capture = {
        "children": {"orders": 2, "events": False, "lines": {"limit": 1, "of_parents": True}},
        "whole": ["alone"],
    }
    with chosen(session, SHOP, Options("users", 1, capture=capture)) as subset:
        report = subset.report
        assert subset.reasons == {
            "users": {"roots": 1, "parents of orders by gift_for": 1, "parents of orders by user_id": 1},
            "orders": {"children of users by user_id": 2, "children of users by gift_for": 1},
            "lines": {"children of orders by order_id": 3},
            "countries": {"parents of users by country": 2},
            "alone": {"all rows": 2},
        }
        cuts = {(cut.table, cut.step, cut.limit, cut.rows, cut.parents) for cut in report.cuts}
        assert cuts == {
            ("lines", "children of orders by order_id", 1, 3, 3),
            ("orders", "children of users by user_id", 2, 1, 1),
        }
        assert report.left_out == ("events",)
        # The primary key of lines begins with order_id, and the index on user_id is there.
        assert [index.sql for index in report.missing_indexes] == [
            'CREATE INDEX CONCURRENTLY ON "public"."orders" ("gift_for");'
        ]
        assert subset.notes == [str(index) for index in report.missing_indexes]
        for index in report.missing_indexes:
            session.execute(index.sql.replace("CONCURRENTLY ", "").encode())
        again = choose(session, Options("users", 1, capture=capture))
        assert not again.report.missing_indexes


def test_indexes_of_partitions(session: Session) -> None:
    """A partitioned table has an index if each of its partitions has one."""
    schema = """CREATE TABLE p(id int PRIMARY KEY); INSERT INTO p VALUES (1);
      CREATE TABLE c(id int, p int REFERENCES p) PARTITION BY LIST (id);
      CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1);
      CREATE TABLE c2(p int, id int); ALTER TABLE c ATTACH PARTITION c2 DEFAULT; CREATE INDEX ON c1 (p);"""
    for more, missing in (("", 1), ("CREATE INDEX ON c2 (p)", 0)):
        with chosen(session, schema + more, Options("p", 1)) as subset:
            assert len(subset.report.missing_indexes) == missing


def test_sample(session: Session) -> None:
    """A sample depends on keys and seed alone: rows that come or go elsewhere in the table do not change the others."""
    schema = (
        "CREATE TABLE t(id text PRIMARY KEY, x int); INSERT INTO t SELECT 'k' || g, g FROM generate_series(1, 99) g"
    )
    samples = {}
    for name, more in (("one", ""), ("other rows", "; DELETE FROM t WHERE x > 90; UPDATE t SET x = 0")):
        for seed in (0, 1, 2**63 - 1):
            with chosen(session, schema + more, Options("t", 20, sample=seed)) as subset:
                samples[name, seed] = [str(key) for key in subset.keys["t"]]
    for seed in (0, 1, 2**63 - 1):
        one, other = (samples[name, seed] for name in ("one", "other rows"))
        assert len(one) == len(other) == 20
        assert {key for key in one if int(key[1:]) <= 90} <= set(other)
    assert len({tuple(keys) for keys in samples.values()}) == 6 or samples["one", 0] != samples["one", 1]


@pytest.mark.parametrize(
    ("kind", "values"),
    {
        "integer": ["-5", "10", "9"],
        "bigint": ["-9223372036854775808", "9223372036854775807", "0"],
        "text": ["é", "Z", "a", "a b", ""],
        "uuid": ["b0000000-0000-0000-0000-000000000000", "0a000000-0000-0000-0000-000000000000"],
        "date": ["infinity", "0044-03-15 BC", "2024-01-01", "12024-01-01", "-infinity"],
        "timestamptz": ["infinity", "0044-03-15 BC", "2024-01-01", "12024-01-01"],
        "numeric": ["10", "9.5", "-1", "NaN", "1e20"],
        "double precision": ["10", "9.5", "-1", "NaN", "-Infinity"],
        "bytea": ["\\x10", "\\x", "\\xff"],
        "boolean": ["t", "f"],
        "inet": ["10.0.0.1", "9.0.0.1", "::1"],
        "time": ["24:00", "9:30", "10:00:00.5"],
    }.items(),
)
def test_order(session: Session, kind: str, values: list[str]) -> None:
    """Keys of every type find their rows, which come in the order of a snapshot, however many are read at once."""
    rows = ", ".join(f"('{value}', {number})" for number, value in enumerate(values))
    schema = f"CREATE TABLE t(k {kind}, n int, PRIMARY KEY (k, n)); INSERT INTO t VALUES {rows}"  # noqa: S608
    with chosen(session, schema, Options("t", len(values), batch_rows=2)) as subset:
        order = 'k::text COLLATE "C"' if kind in {"text", "inet", "numeric"} else "k"
        expected = session.execute(f"SELECT n FROM public.t ORDER BY {order}, n".encode()).fetchall()  # noqa: S608
        assert [(row[1],) for row in subset.rows("t")] == expected


@pytest.mark.parametrize(
    "condition",
    [
        "true); DROP TABLE t; --",
        "true; DROP TABLE t",
        "true) UNION SELECT 5 WHERE (true",
        "true) THEN 1 WHEN (true",
        "true) OR (true",
        "true ORDER BY 1",
        "id = 'x",
        "id = 1 /*",
        "$$",
        "id",
        "nonsense = 1",
        "id = 'one'",
        "1 / (id - id) = 1",
        "nowhere(id)",
        "count(*) > 1",
    ],
)
def test_conditions(session: Session, condition: str) -> None:
    """Anything but one condition is refused before anything is run, and the error names the option."""
    schema = "CREATE TABLE t(id int PRIMARY KEY); INSERT INTO t VALUES (1)"
    with pytest.raises(UsageError) as failure, chosen(session, schema, Options(where=[f"t: {condition}"])):
        pass
    assert failure.value.where == "--where t"
    reference = {"table": "t", "columns": ["id"], "to": "t", "where": condition}
    options = Options("t", 1, capture={"references": [reference]})
    with pytest.raises(ConfigurationError) as failure_of_setting, chosen(session, schema, options):
        pass
    assert failure_of_setting.value.where == "snapseed.toml [[capture.references]], number 1"


@pytest.mark.parametrize(
    "options",
    [
        Options("users"),
        Options(rows=5),
        Options("users", 0),
        Options(sample=1),
        Options(where=["users"]),
        Options(where=["users:"]),
        Options(where=["users: true", "users: false"]),
        Options("nobody", 1),
        Options("users", 1, where=["public.users: true"]),
        Options(where=["nobody: true"]),
        Options("lines", 1, capture={"whole": ["nobody"]}),
        Options("lines", 1, capture={"children": {"nobody": 1}}),
        Options("lines", 1, capture={"references": [{"table": "events", "columns": ["nothing"], "to": "users"}]}),
        Options("lines", 1, capture={"references": [{"table": "events", "columns": ["what"], "to": "lines"}]}),
        Options("lines", 1, capture={"references": [{"table": "events", "columns": ["what"], "to": "events"}]}),
        Options("lines", 1, capture={"references": [{"table": "events", "columns": ["what"], "to": "users"}]}),
    ],
)
def test_what_does_not_fit(session: Session, options: Options) -> None:
    """Options and settings that name nothing, or do not fit together, are errors."""
    with pytest.raises((UsageError, ConfigurationError)), chosen(session, SHOP, options):
        pass


def test_select_is_enough(session: Session) -> None:
    """A role that may only read rows, in a transaction that may only read, can choose them; nothing is created."""
    with session.transaction(force_rollback=True):
        session.execute("SET LOCAL search_path TO public")
        session.execute(SHOP.encode())
        session.execute("CREATE ROLE reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        session.execute("SET LOCAL ROLE reader; SET LOCAL search_path TO pg_catalog, pg_temp")
        session.execute("SET TRANSACTION READ ONLY")
        assert choose(session, Options("users", 1, where=["alone: id = 1"])).keys["orders"] == [10, 11, 12, 20]


def test_indexes_are_used(session: Session) -> None:
    """The server looks rows up by indexes, so that the cost follows the subset and not the table."""
    schema = """CREATE TABLE big(id bigint PRIMARY KEY, filler text);
      INSERT INTO big SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g; ANALYZE big"""
    with chosen(session, schema, Options("big", 20, batch_rows=10)) as subset:
        for source in subset.plan.sources("big"):
            plan = session.execute(sql.SQL("EXPLAIN SELECT id FROM {}").format(source)).fetchall()
            assert "Seq Scan on" not in str(plan)


@pytest.mark.parametrize("first", [1, 500])
def test_chains(session: Session, first: int) -> None:
    """Rows that refer to one another in a long chain take a few statements, not one for each."""
    schema = """CREATE TABLE t(id int PRIMARY KEY, previous int REFERENCES t, other int REFERENCES t);
      INSERT INTO t SELECT g, nullif(g - 1, 0), nullif(g / 2, 0) FROM generate_series(1, 500) g;
      CREATE INDEX ON t (previous); CREATE INDEX ON t (other)"""
    with chosen(session, schema, Options("t", 1, where=[f"t: id = {first}"], batch_rows=500)) as subset:
        assert subset.keys["t"] == list(range(1, 501))
        statements = []

        def reach(step: Step, keys: pl.DataFrame, repeat: bool) -> pl.DataFrame:  # noqa: FBT001 - as it is called
            statements.append(step)
            return read_step(session, step, keys, repeat=repeat)

        roots = pl.DataFrame({"1": [first], "why": pl.Series([-1], dtype=pl.Int16)})
        assert len(closure(subset.plan.graph, {"t": [roots]}, reach).rows["t"]) == 500
        assert len(statements) < 20
