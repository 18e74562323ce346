"""Schemas as the world has them run through unedited: each case is a schema and what is true of its rows afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from tests.conftest import Connection, Sandbox, new_database
from tests.scaffold.conftest import Init, load
from tests.scaffold.test_plan import CASES as PLANNED

SCALE = 40
PLANS = "CREATE TABLE plans (id serial PRIMARY KEY); CREATE TABLE coupons (id serial PRIMARY KEY);"


@dataclass(frozen=True)
class Case:
    """Tables, and what a query says about their rows. All of its columns are true."""

    ddl: str
    fact: str


CASES = {
    "one of two references": Case(
        f"{PLANS}CREATE TABLE t (id serial PRIMARY KEY, plan_id int REFERENCES plans, coupon_id int REFERENCES coupons,"
        "CHECK ((plan_id IS NOT NULL) <> (coupon_id IS NOT NULL)))",
        "SELECT count(plan_id) > 5, count(coupon_id) > 5 FROM t",
    ),
    "exactly one of three": Case(
        f"{PLANS}CREATE TABLE t (id serial PRIMARY KEY, plan_id int REFERENCES plans, coupon_id int REFERENCES coupons,"
        "amount int, CHECK (num_nonnulls(plan_id, coupon_id, amount) = 1))",
        "SELECT count(plan_id) > 3, count(coupon_id) > 3, count(DISTINCT amount) > 3 FROM t",
    ),
    "a different one for each kind": Case(
        f"{PLANS}CREATE TABLE t (id serial PRIMARY KEY, kind text NOT NULL CHECK (kind IN ('X', 'Y')),"
        "a int REFERENCES plans, b int REFERENCES coupons, c text, CHECK (kind = 'X' AND num_nonnulls(a, b, c) = 2 OR"
        " kind = 'Y' AND num_nonnulls(a, b, c) = 1))",
        "SELECT count(DISTINCT kind) = 2, count(DISTINCT (kind, a IS NULL, b IS NULL, c IS NULL)) = 6 FROM t",
    ),
    "a different one for each of many kinds": Case(
        f"""CREATE TYPE kind AS ENUM ({", ".join(f"'{letter}'" for letter in "abcdefghijklmnopqrstu")});
        CREATE TABLE t (id serial PRIMARY KEY, kind kind NOT NULL, a int, b int, c int, d int, e int,
        CHECK (num_nonnulls(a, b, c, d, e) = CASE WHEN kind < 'c' THEN 1 WHEN kind < 'f' THEN 2 ELSE 3 END))""",
        "SELECT count(DISTINCT kind) > 3, count(DISTINCT num_nonnulls(a, b, c, d, e)) > 1 FROM t",
    ),
    "a status with its moment": Case(
        "CREATE TABLE t (id serial PRIMARY KEY, status text NOT NULL CHECK (status IN ('draft', 'approved', 'lost')),"
        "approved_at timestamptz, CHECK ((status = 'approved') = (approved_at IS NOT NULL)))",
        "SELECT count(DISTINCT status) = 3, count(DISTINCT approved_at) > 5 FROM t",
    ),
    "both or none": Case(
        "CREATE TABLE t (id serial PRIMARY KEY, read_at timestamptz, read_amount bigint,"
        "CHECK ((read_at IS NULL) = (read_amount IS NULL)))",
        "SELECT count(read_at) > 5, count(*) > count(read_at) FROM t",
    ),
    "both, where neither is likely to be missing": Case(
        "CREATE TABLE t (id serial PRIMARY KEY, width int, height int, CHECK ((width IS NULL) = (height IS NULL)))",
        "SELECT count(height) = count(*) FROM t",
    ),
    "texts that differ": Case(
        "CREATE TABLE t (id serial PRIMARY KEY, name text NOT NULL, alias text NOT NULL, CHECK (name <> alias))",
        "SELECT count(DISTINCT name) > 5, count(DISTINCT alias) > 5 FROM t",
    ),
    "a stay of some days, and a trial that ends soon": Case(
        "CREATE TABLE t (id serial PRIMARY KEY, check_in date NOT NULL, check_out date NOT NULL, t_from date NOT NULL,"
        " t_to date NOT NULL, ends timestamptz, starts timestamptz NOT NULL, until timestamp, since timestamp NOT NULL,"
        " CHECK (check_out > check_in AND check_out < check_in + 5), CHECK (t_to - t_from BETWEEN 1 AND 10),"
        " CHECK (ends <= starts + '14 days'::interval), CHECK (until BETWEEN since + '1 day' AND since + '30 days'))",
        "SELECT count(DISTINCT check_out - check_in) > 2, count(DISTINCT t_to - t_from) > 5, count(ends) > 5,"
        " count(DISTINCT until) > 5 FROM t",
    ),
    "floats that are as short as decimals": Case(
        "CREATE TABLE t (id serial PRIMARY KEY, x double precision NOT NULL, y double precision NOT NULL)",
        "SELECT max(length(x::text)) <= 8, max(length(y::text)) <= 8, count(DISTINCT x) > 30 FROM t",
    ),
    "an end that is missing or late enough": Case(
        "CREATE TABLE t (id serial PRIMARY KEY, starts timestamp NOT NULL, ends timestamp,"
        "CHECK (ends >= starts OR ends IS NULL))",
        "SELECT count(DISTINCT ends) > 5 FROM t",
    ),
    "texts as keys that others refer to": Case(
        """CREATE TABLE "User" (id text PRIMARY KEY, email text NOT NULL UNIQUE);
        CREATE TABLE "Team" (id text PRIMARY KEY);
        CREATE TABLE "TeamUser" ("teamId" text NOT NULL REFERENCES "Team" ON DELETE CASCADE,
        "userId" text NOT NULL REFERENCES "User" ON DELETE CASCADE, PRIMARY KEY ("teamId", "userId"));
        CREATE TABLE "Post" (id varchar(30) PRIMARY KEY, "authorId" text NOT NULL REFERENCES "User",
        "teamId" text NOT NULL REFERENCES "Team"); CREATE TABLE "Profile" (id varchar(9) PRIMARY KEY,
        "userId" text NOT NULL UNIQUE REFERENCES "User")""",
        """SELECT count(*) = 40, count(DISTINCT id) = 40, (SELECT count(*) > 40 FROM "Post"), (SELECT count(*) > 10
        FROM "TeamUser"), (SELECT count(*) = 40 FROM "Profile") FROM "User" u""",
    ),
    "a table that joins two others has a key of its own": Case(
        """CREATE TABLE users (id bigserial PRIMARY KEY); CREATE TABLE projects (id bigserial PRIMARY KEY);
        CREATE TABLE memberships (id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users,
        project_id bigint NOT NULL REFERENCES projects, UNIQUE (user_id, project_id)); CREATE TABLE invites
        (id bigserial PRIMARY KEY, membership_id bigint NOT NULL REFERENCES memberships)""",
        "SELECT count(*) > count(DISTINCT user_id), (SELECT count(*) > 0 FROM invites) FROM memberships",
    ),
    "a table that joins, of texts below others": Case(
        """CREATE TABLE t (id varchar(21) PRIMARY KEY);
        CREATE TABLE u (tenant varchar(21) REFERENCES t, id varchar(21) PRIMARY KEY);
        CREATE TABLE r (tenant varchar(21) REFERENCES t, id varchar(21) PRIMARY KEY);
        CREATE TABLE ur (tenant varchar(21) NOT NULL REFERENCES t, u varchar(21) NOT NULL REFERENCES u,
        r varchar(21) NOT NULL REFERENCES r, PRIMARY KEY (tenant, u, r))""",
        "SELECT count(DISTINCT u) > 10, count(DISTINCT r) > 10 FROM ur",
    ),
    "two references that differ": Case(
        """CREATE TABLE person (id serial PRIMARY KEY); CREATE TABLE follow (id serial PRIMARY KEY,
        follower_id int NOT NULL REFERENCES person, followed_id int NOT NULL REFERENCES person,
        UNIQUE (follower_id, followed_id), CHECK (follower_id <> followed_id));
        CREATE TABLE link (id serial PRIMARY KEY,
        one int NOT NULL REFERENCES person, other int NOT NULL REFERENCES person, CHECK (one <> other))""",
        "SELECT count(*) > 40, (SELECT count(*) > 40 FROM link) FROM follow",
    ),
    "two references in order": Case(
        """CREATE TABLE tags (id uuid PRIMARY KEY); CREATE TABLE tag_relation (a uuid NOT NULL REFERENCES tags,
        b uuid NOT NULL REFERENCES tags, PRIMARY KEY (a, b), CHECK (a < b))""",
        "SELECT count(*) > 20 FROM tag_relation",
    ),
    "numbers that differ": Case(
        "CREATE TABLE t (id serial PRIMARY KEY, a int NOT NULL, b int NOT NULL, CHECK (a <> b))",
        "SELECT count(DISTINCT a) > 5, count(DISTINCT b) > 5 FROM t",
    ),
    "references to unique columns and to generated ones": Case(
        """CREATE TABLE c (id serial PRIMARY KEY, slug text NOT NULL UNIQUE, org uuid NOT NULL, UNIQUE (org, slug),
        double int GENERATED ALWAYS AS (id * 2) STORED UNIQUE);
        CREATE TABLE d (slug text NOT NULL REFERENCES c (slug), n int, x int REFERENCES c (double),
        PRIMARY KEY (slug, n));
        CREATE TABLE e (id serial PRIMARY KEY, org uuid NOT NULL, slug text NOT NULL,
        FOREIGN KEY (org, slug) REFERENCES c (org, slug)); CREATE TABLE f (c text PRIMARY KEY REFERENCES c (slug))""",
        "SELECT count(*) > 40, (SELECT count(*) > 40 FROM e), (SELECT count(*) = 40 FROM f), count(x) = 0 FROM d",
    ),
    "numbers that are so far apart": Case(
        """CREATE TABLE t (id serial PRIMARY KEY, a int NOT NULL, b int NOT NULL, low int NOT NULL, high int NOT NULL,
        x numeric(8, 2) NOT NULL, y numeric(8, 2) NOT NULL, s smallint NOT NULL, e smallint CHECK (e <= 100),
        CHECK (b - a BETWEEN 1 AND 10), CHECK (high > low + 5), CHECK (x < y - 2), CHECK (e >= s AND e - s <= 3))""",
        """SELECT count(DISTINCT b - a) > 5, count(DISTINCT low) > 30, count(DISTINCT high) > 30,
        count(DISTINCT x) > 30, count(e) = 40, count(DISTINCT s) > 20 FROM t""",
    ),
    "a check about single rows": Case(
        """CREATE TABLE kind (id serial PRIMARY KEY, name text NOT NULL UNIQUE); CREATE TABLE t (id serial PRIMARY KEY,
        kind int REFERENCES kind, area int, begins smallint, ends smallint,
        CHECK (id <> 3 OR (kind = 2 AND area IS NULL AND begins IS NULL AND ends IS NULL)));
        CREATE TABLE alias (id serial PRIMARY KEY, kind int REFERENCES kind, y smallint, CHECK (kind <> 5 OR y IS NULL))
        """,
        "SELECT count(kind) > 20, count(area) = 39, count(ends) = 39, (SELECT count(*) = 40 FROM alias) FROM t",
    ),
    "keys and unique texts that are counted in letters": Case(
        """CREATE TABLE t (k text PRIMARY KEY CHECK (k ~ '^[A-Z]{2,6}$'),
        slug text UNIQUE CHECK (slug ~ '^[a-z]{2,10}$'));
        CREATE TABLE u (k text PRIMARY KEY CHECK (k ~ '^[A-Z]{4}$'));
        CREATE TABLE v (k varchar(20) PRIMARY KEY CHECK (k ~ '^[A-Z]+-[0-9]+$'));
        CREATE TABLE w (k char(3) CHECK (k IN ('EUR', 'USD')), t text REFERENCES t, PRIMARY KEY (t, k))""",
        "SELECT count(slug) = 40, (SELECT count(*) = 40 FROM u), (SELECT count(*) = 40 FROM v),"
        " (SELECT count(DISTINCT k) = 2 FROM w) FROM t",
    ),
    "numbers of any precision": Case(
        """CREATE TABLE t (id serial PRIMARY KEY, a numeric(65, 30) NOT NULL, b numeric(36, 18), c numeric(40, 15),
        d numeric(78, 0), e numeric(210, 10), f numeric, g numeric(2, 5), h numeric(3, -2), i numeric(40, 15) UNIQUE,
        j numeric(30, 20) UNIQUE, k numeric(36, 18) CHECK (k > 0 AND k < 1), l numeric(40, 15)[])""",
        """SELECT count(DISTINCT a) > 5, count(DISTINCT b) > 5, count(DISTINCT c) > 5, count(DISTINCT d) > 5,
        count(DISTINCT e) > 5, count(i) = 40, count(j) = 40, count(DISTINCT k) > 5, count(DISTINCT l) > 5 FROM t""",
    ),
    "arrays of documents": Case(
        "CREATE TABLE t (id serial PRIMARY KEY, a jsonb[], b jsonb[] NOT NULL)", "SELECT max(cardinality(b)) = 3 FROM t"
    ),
    "unique moments with fewer digits": Case(
        "CREATE TABLE t (id serial PRIMARY KEY, a timestamp(3) NOT NULL UNIQUE, b timestamptz(0) NOT NULL UNIQUE)",
        "SELECT count(DISTINCT a) = 40, count(DISTINCT b) = 40 FROM t",
    ),
    "references to a unique column beside the key": Case(
        """CREATE TABLE app (id text PRIMARY KEY, client text NOT NULL UNIQUE); CREATE TABLE api (id serial PRIMARY KEY,
        address text NOT NULL UNIQUE); CREATE TABLE allowed (id serial PRIMARY KEY, api text NOT NULL
        REFERENCES api (address), client text NOT NULL REFERENCES app (client), UNIQUE (client, api))""",
        "SELECT count(*) = 40, (SELECT count(*) = 40 FROM api), (SELECT count(*) > 40 FROM allowed) FROM app",
    ),
    "few numbers unique beside what may be NULL": Case(
        """CREATE TABLE t (id int PRIMARY KEY, parent int REFERENCES t, level smallint NOT NULL
        CHECK (level BETWEEN 0 AND 3), UNIQUE (parent, level))""",
        "SELECT count(*) = 40, count(DISTINCT level) > 2 FROM t",
    ),
    "references of two columns": Case(
        """CREATE TABLE pair (a int, b int, t text, PRIMARY KEY (a, b)); CREATE TABLE kid (id int PRIMARY KEY,
        a int NOT NULL, b int NOT NULL, FOREIGN KEY (a, b) REFERENCES pair);
        CREATE TABLE friend (id int PRIMARY KEY, a int, b int, at date NOT NULL,
        FOREIGN KEY (a, b) REFERENCES pair, UNIQUE (a, b, at))""",
        "SELECT count(DISTINCT (a, b)) > 5, (SELECT count(a) > 5 FROM friend) FROM kid",
    ),
    "a key and a reference to an earlier row that differ": Case(
        """CREATE TABLE org (id uuid PRIMARY KEY); CREATE TABLE member (org_id uuid NOT NULL REFERENCES org,
        user_no int NOT NULL, boss_no int, PRIMARY KEY (org_id, user_no), FOREIGN KEY (org_id, boss_no)
        REFERENCES member (org_id, user_no), CHECK (boss_no <> user_no)); CREATE TABLE badge (id serial PRIMARY KEY,
        org_id uuid NOT NULL, user_no int NOT NULL, FOREIGN KEY (org_id, user_no) REFERENCES member)""",
        "SELECT count(*) > 5, (SELECT count(*) > 5 FROM badge) FROM member",
    ),
    "moments as keys": Case(
        """CREATE TABLE a (at timestamptz PRIMARY KEY); CREATE TABLE b (at timestamp(3) PRIMARY KEY, v int);
        CREATE TABLE c (at timestamptz(0), b timestamp(3) REFERENCES b, v int, PRIMARY KEY (at, b))""",
        "SELECT count(*) = 40, (SELECT count(*) = 40 FROM b), (SELECT count(*) >= 40 FROM c) FROM a",
    ),
    "short codes that are unique, of which one is needed": Case(
        """CREATE TABLE t (id serial PRIMARY KEY, a char(3) UNIQUE, b char(3) UNIQUE, name text NOT NULL,
        CHECK (a IS NOT NULL OR b IS NOT NULL))""",
        "SELECT count(*) > 5 FROM t",
    ),
    "names and values that look like code": Case(
        """CREATE TABLE t (id int PRIMARY KEY, "{own:id}" int NOT NULL, "{}" text NOT NULL, "{local}" text[] NOT NULL,
        s text CHECK (s IN ('{own:id}', '{rows:t}')))""",
        'SELECT count(DISTINCT s) = 2, count(DISTINCT "{own:id}") > 5 FROM t',
    ),
    "keys and checks of partitions": Case(
        """CREATE TABLE customer (id int PRIMARY KEY); CREATE TABLE pay (id int NOT NULL, customer_id int NOT NULL,
        at timestamptz NOT NULL, code text NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE pay_25 PARTITION OF pay FOR VALUES FROM ('2024-01-01') TO ('2026-01-01');
        ALTER TABLE pay_25 ADD FOREIGN KEY (customer_id) REFERENCES customer, ADD CHECK (code IN ('x', 'y'))""",
        "SELECT count(*) > 40, count(DISTINCT code) = 2 FROM pay",
    ),
    "partitions by what may be missing": Case(
        """CREATE TABLE t (id serial, notes text) PARTITION BY LIST (notes);
        CREATE TABLE t1 PARTITION OF t FOR VALUES IN ('a', 'b'); CREATE TABLE item (id int PRIMARY KEY);
        CREATE TABLE u (id int NOT NULL, item_id int REFERENCES item) PARTITION BY RANGE (item_id);
        CREATE TABLE u1 PARTITION OF u FOR VALUES FROM (1) TO (1000)""",
        "SELECT count(DISTINCT notes) = 2, (SELECT count(item_id) = count(*) FROM u) FROM t",
    ),
    "generated columns that could overflow": Case(
        """CREATE TABLE film (id serial PRIMARY KEY, rental_duration smallint NOT NULL DEFAULT 3,
        rental_rate numeric(4, 2) NOT NULL DEFAULT 4.99,
        revenue numeric(5, 2) GENERATED ALWAYS AS (rental_duration * rental_rate) STORED);
        CREATE TABLE area (id serial PRIMARY KEY, a int NOT NULL, b int NOT NULL,
        c smallint GENERATED ALWAYS AS (a * b) STORED)""",
        "SELECT count(DISTINCT rental_duration) > 3, (SELECT count(DISTINCT c) > 3 FROM area) FROM film",
    ),
    "a serial column with a check": Case(
        "CREATE TABLE t (id uuid PRIMARY KEY, x serial, CHECK (x >= 3 AND x < 8))",
        "SELECT count(DISTINCT x) = 5 FROM t",
    ),
    "addresses of networks that are unique": Case(
        "CREATE TABLE t (id serial PRIMARY KEY, ip inet NOT NULL UNIQUE, mac macaddr NOT NULL UNIQUE)",
        "SELECT count(DISTINCT ip) = 40, count(DISTINCT mac) = 40 FROM t",
    ),
    "unique among some rows only": Case(
        """CREATE TABLE t (id serial PRIMARY KEY, is_default boolean NOT NULL DEFAULT false, email text NOT NULL,
        deleted_at timestamptz); CREATE UNIQUE INDEX ON t (is_default) WHERE is_default;
        CREATE UNIQUE INDEX ON t (email) WHERE deleted_at IS NULL""",
        "SELECT NOT bool_or(is_default), count(DISTINCT email) = 40, count(*) > count(deleted_at) FROM t",
    ),
    "unique among the rows of either of two kinds": Case(
        """CREATE TABLE a (id serial PRIMARY KEY); CREATE TABLE b (id serial PRIMARY KEY);
        CREATE TYPE kind AS ENUM ('starts', 'runs', 'ends'); CREATE TABLE t (id serial PRIMARY KEY,
        a int NOT NULL REFERENCES a, b int NOT NULL REFERENCES b ON DELETE CASCADE, kind kind NOT NULL,
        UNIQUE (a, b)); CREATE UNIQUE INDEX ON t (a, kind) WHERE kind = 'starts';
        CREATE UNIQUE INDEX ON t (a, kind) WHERE kind = 'ends'""",
        "SELECT count(*) > 40, bool_and(kind = 'runs') FROM t",
    ),
    "a key with room for nine rows": Case(
        "CREATE TABLE t (id int PRIMARY KEY, CHECK (id BETWEEN 1 AND 9)); CREATE TABLE u (id bigint PRIMARY KEY,"
        "CHECK (id > 0 AND id < 5))",
        "SELECT count(*) = 9, (SELECT count(*) = 4 FROM u) FROM t",
    ),
    "keys that do not count from one": Case(
        """CREATE TABLE t (id int PRIMARY KEY CHECK (id < 0)); CREATE TABLE u (id bigint PRIMARY KEY
        CHECK (id > 9000000000), v int UNIQUE CHECK (v BETWEEN -9000 AND -1)); CREATE TABLE on_both (id serial
        PRIMARY KEY, t int NOT NULL REFERENCES t); CREATE TABLE w (id smallint PRIMARY KEY
        CHECK (id BETWEEN -500 AND -1))""",
        "SELECT count(*) = 40, (SELECT count(v) = 40 FROM u), (SELECT count(*) > 40 FROM on_both), (SELECT count(*) > 1"
        " FROM w) FROM t",
    ),
    "keys that may be NULL": Case(
        """CREATE TABLE t (a boolean, c boolean UNIQUE); CREATE TABLE u (a text, n int UNIQUE);
        CREATE TABLE v (id serial PRIMARY KEY, c boolean UNIQUE)""",
        "SELECT count(c) = 2, (SELECT count(n) = 40 FROM u), (SELECT count(*) = 40 FROM v) FROM t",
    ),
    "unique among some rows by a reference to few": Case(
        """CREATE TABLE t (code char(2) PRIMARY KEY); CREATE TABLE u (id serial PRIMARY KEY,
        t char(2) NOT NULL REFERENCES t, active boolean NOT NULL); CREATE UNIQUE INDEX ON u (t) WHERE active""",
        "SELECT count(*) = 40, NOT bool_or(active), count(DISTINCT t) > 5 FROM u",
    ),
    "rows that grow though others refer to them by several columns": Case(
        """CREATE TABLE device (person text, device text, UNIQUE (person, device));
        CREATE TABLE event (id text PRIMARY KEY); CREATE TABLE sent (event text NOT NULL UNIQUE REFERENCES event
        ON DELETE CASCADE, person text NOT NULL, device text NOT NULL,
        FOREIGN KEY (person, device) REFERENCES device (person, device) ON DELETE CASCADE);
        CREATE TABLE tenant (id text PRIMARY KEY); CREATE TABLE member (tenant text NOT NULL REFERENCES tenant,
        id text PRIMARY KEY, UNIQUE (tenant, id)); CREATE TABLE team (id text PRIMARY KEY);
        CREATE TABLE member_team (tenant text NOT NULL REFERENCES tenant, team text NOT NULL REFERENCES team,
        member text NOT NULL REFERENCES member, FOREIGN KEY (tenant, member) REFERENCES member (tenant, id),
        PRIMARY KEY (tenant, team, member)); CREATE TABLE post (id serial PRIMARY KEY,
        member text REFERENCES member)""",
        """SELECT count(*) = 40, (SELECT count(*) > 10 FROM sent), (SELECT count(*) = 40 FROM member),
        (SELECT count(*) > 40 FROM member_team), (SELECT count(member) > 0 FROM post) FROM device""",
    ),
    "one row for each of two, of which one has the other": Case(
        """CREATE TABLE crate (id serial PRIMARY KEY); CREATE TABLE version (id serial PRIMARY KEY, crate int NOT NULL
        REFERENCES crate); CREATE TABLE best_version (crate int PRIMARY KEY REFERENCES crate,
        version int NOT NULL UNIQUE REFERENCES version);
        CREATE TABLE use (id serial PRIMARY KEY, version int REFERENCES version)""",
        "SELECT count(*) > 1, (SELECT count(DISTINCT crate) > 1 FROM version) FROM best_version",
    ),
    "rows of one kind, by a reference to rows of any kind": Case(
        """CREATE TABLE party (id serial PRIMARY KEY, kind text NOT NULL CHECK (kind IN ('person', 'company')),
        UNIQUE (id, kind)); CREATE TABLE person (id serial PRIMARY KEY, party int, kind text CHECK (kind = 'person'),
        FOREIGN KEY (party, kind) REFERENCES party (id, kind))""",
        "SELECT count(*) > 0 FROM person",
    ),
    "generated columns that are unique": Case(
        """CREATE TABLE t (id serial PRIMARY KEY, name text NOT NULL, n int NOT NULL,
        low text GENERATED ALWAYS AS (lower(name)) STORED UNIQUE, twice int GENERATED ALWAYS AS (n * 2)
        STORED UNIQUE)""",
        "SELECT count(DISTINCT low) = 40, count(DISTINCT twice) = 40 FROM t",
    ),
    "an earlier row that must be another": Case(
        """CREATE TABLE t (id serial PRIMARY KEY, parent int REFERENCES t, CHECK (parent <> id));
        CREATE TABLE u (id uuid PRIMARY KEY, parent uuid REFERENCES u CHECK (id != parent));
        CREATE TABLE v (id serial PRIMARY KEY, t int NOT NULL REFERENCES t ON DELETE CASCADE, prev int REFERENCES v,
        CHECK (prev < id)); CREATE TABLE w (id int PRIMARY KEY, own int NOT NULL UNIQUE REFERENCES w)""",
        """SELECT count(parent) > 20, (SELECT count(parent) > 20 FROM u), (SELECT count(prev) > 20 FROM v),
        (SELECT count(*) = 40 FROM w) FROM t""",
    ),
    "a name that is the key of another table by chance": Case(
        """CREATE TABLE users (id serial PRIMARY KEY, email text NOT NULL);
        CREATE TABLE resets (email text PRIMARY KEY, token text NOT NULL)""",
        "SELECT bool_and(email LIKE '%@%') FROM users",
    ),
    "sizes of bytes and texts": Case(
        """CREATE TABLE t (id serial PRIMARY KEY, sha bytea NOT NULL CHECK (octet_length(sha) = 32),
        key bytea NOT NULL UNIQUE, a text NOT NULL CHECK (length(a) = 40), b text CHECK (length(b) >= 20))""",
        "SELECT count(DISTINCT sha) = 40, count(DISTINCT a) = 40, count(b) = 40 FROM t",
    ),
    "patterns": Case(
        r"""CREATE TABLE t (id serial PRIMARY KEY, ssn text NOT NULL UNIQUE CHECK (ssn ~ '^\d{3}-\d{2}-\d{4}$'),
        hex text NOT NULL CHECK (hex ~* '^[0-9a-f]{6}$'),
        iswc char(15) CHECK (iswc ~ '^T-?\d{3}.?\d{3}.?\d{3}[-.]?\d$'),
        sha text NOT NULL UNIQUE CHECK (sha ~ '^[0-9a-f]{40}$'),
        price text NOT NULL UNIQUE CHECK (price ~ '^\$[A-Z]\d{5}$'),
        married char(1) NOT NULL CHECK (upper(married::text) IN ('M', 'S')))""",
        "SELECT count(DISTINCT ssn) = 40, count(iswc) = 40, count(DISTINCT (hex, married)) > 5 FROM t",
    ),
}


@pytest.fixture(scope="module")
def filled(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A database with the schemas of all cases, filled with what init, generate and load make of them.

    The cases of `test_plan` are among them: whatever is planned loads.
    """
    folder = tmp_path_factory.mktemp("cases")
    with new_database(server) as url, psycopg.connect(url, autocommit=True) as connection:
        tables = [*(case.ddl for case in CASES.values()), *(case.ddl for case in PLANNED.values())]
        for number, ddl in enumerate(tables):
            connection.execute(f"CREATE SCHEMA s{number}; SET search_path = s{number}; {ddl}".encode())
        connection.execute("SET search_path = public")
        Sandbox(folder, "").run("init", "--from-database", url, "made", check=True)
        loaded = load(Sandbox(folder / "made", ""), SCALE)
        assert loaded.returncode == 0, loaded.stderr
        yield connection


@pytest.mark.parametrize("name", CASES)
def test_rows_are_what_the_schema_asks_for(name: str, filled: Connection) -> None:
    """Every constraint holds, or there were no rows at all; and the rows vary as far as it lets them."""
    filled.execute(f"SET search_path = s{list(CASES).index(name)}".encode())
    found = filled.execute(CASES[name].fact.encode()).fetchone()
    assert found
    assert set(found) == {True}


def test_short_unique_texts_never_limit_the_rows_of_a_table(init: Init, connection: Connection) -> None:
    """Where they may be NULL, they are no key; where they may not, the table is a lookup. Whatever the other key is."""
    keys = {"own": "id int PRIMARY KEY", "two": "a int, b int, PRIMARY KEY (a, b)", "loose": "a int NOT NULL"}
    kinds = [(width, key, text) for width in range(1, 5) for key in keys for text in ("varchar", "char")]
    tables = [f"{key}_{text}_{width} ({keys[key]}, t {text}({width})" for width, key, text in kinds]
    made = init("".join(f"CREATE TABLE {table} UNIQUE); CREATE TABLE no_{table} UNIQUE NOT NULL);" for table in tables))
    load(made, 1_000)
    counts = {
        name: connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))).fetchone()
        for name in (f"{prefix}{table.partition(' ')[0]}" for table in tables for prefix in ("", "no_"))
    }
    assert {name for name, count in counts.items() if count != (1_000,)} == {
        f"no_{key}_{text}_{width}" for width, key, text in kinds if width < 4
    }
