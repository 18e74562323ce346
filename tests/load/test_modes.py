"""Rows are replaced, added, or updated by key. Each mode keeps what it should and verifies the rest."""

from __future__ import annotations

import json

import pytest

from snapseed.cli.documents import document
from snapseed.errors import LoadError, RefusedError, UsageError, VerificationError
from snapseed.load.outcome import LoadReport
from snapseed.load.request import Mode
from snapseed.verify.status import status_of
from tests.load.shapes import ROLE, Shapes, fix_of, mentions, reasons, rebuilt

OTHERS = """
INSERT INTO teams VALUES ('zero', 'Mine', NULL);
INSERT INTO people (id, team, name, score, tags, place) VALUES (1000, 'zero', 'Mine', 0, '{}', '{0,0,0}');
"""


def test_an_append_keeps_existing_rows(shapes: Shapes) -> None:
    """The comparison includes them, and new rows that violate a unique index end the load."""
    shapes.create(OTHERS)
    report = shapes.load(Mode.APPEND)
    assert shapes.one("SELECT count(*) FROM people") == 31
    assert {result.expected.rows for result in report.verified} == {5, 31, 60}
    assert mentions(reasons(report), "people: not emptied … added")
    error = shapes.refused(Mode.APPEND, consent=True)
    assert isinstance(error, LoadError)
    assert "teams_pkey" in str(error)
    assert "--mode upsert" in str(error.next_step)


def test_an_append_rebuilds_what_it_may(shapes: Shapes) -> None:
    """Indexes that are not unique, unless the table holds more rows than are added. No consent is needed."""
    shapes.create("CREATE INDEX scores ON people (score); CREATE INDEX titles ON teams (title);" + OTHERS)
    shapes.execute("INSERT INTO teams SELECT n, n, NULL FROM generate_series(1, 100) n; ANALYZE teams")
    report = shapes.load(Mode.APPEND, rebuild_rows=0)
    assert rebuilt(report) == {"scores"}
    assert mentions(reasons(report), "teams: indexes and foreign keys … 101")


def test_an_upsert_changes_what_differs_and_nothing_else(shapes: Shapes) -> None:
    """Missing rows are inserted and different rows updated, also if only json differs. All other rows stay."""
    unchanged = "SELECT id, xmin::text, ctid FROM people WHERE id NOT IN (3, 4) ORDER BY id"
    shapes.create(OTHERS)
    assert isinstance(shapes.refused(Mode.UPSERT), RefusedError)
    shapes.load(Mode.UPSERT, consent=True)
    before = shapes.execute(unchanged)
    shapes.execute("DELETE FROM people WHERE id = 3")
    shapes.execute("UPDATE people SET loose = '{}', note = NULL WHERE id = 4")
    report = shapes.load(Mode.UPSERT)
    assert shapes.execute(unchanged) == before
    assert shapes.one("SELECT count(*) FROM people WHERE loose::text <> '{}' AND note IS NOT NULL") == 30
    assert all(result.agrees for result in report.verified)
    assert mentions(reasons(report), "people: not emptied … temporary table")
    shapes.execute("DELETE FROM teams WHERE code = 'zero'; DELETE FROM people WHERE id = 1000")
    shapes.load(Mode.UPSERT, agrees=True)


def test_an_upsert_of_a_key_that_is_always_generated(shapes: Shapes) -> None:
    """The key gets the snapshot's value. Another GENERATED ALWAYS column cannot."""
    shapes.create("ALTER TABLE people ALTER id ADD GENERATED ALWAYS AS IDENTITY")
    shapes.load(Mode.UPSERT)
    shapes.load(Mode.UPSERT)
    assert shapes.one("SELECT nextval('people_id_seq')") == 31
    shapes.execute("ALTER TABLE badges ALTER person ADD GENERATED ALWAYS AS IDENTITY")
    shapes.load(consent=True)
    shapes.execute("UPDATE badges SET mark = 'other'")
    assert mentions(left(shapes.load(Mode.UPSERT)), "badges.person … GENERATED ALWAYS AS IDENTITY")


def test_another_unique_column_may_end_an_upsert(shapes: Shapes) -> None:
    """A row outside the snapshot has the seat of a row in it, and both cannot exist."""
    shapes.create("ALTER TABLE people ADD CONSTRAINT seats UNIQUE (seat)")
    shapes.load()
    shapes.execute("UPDATE people SET id = 900 WHERE seat = 2")
    assert "constraint 'seats'" in str(shapes.refused(Mode.UPSERT))


def left(report: LoadReport) -> str:
    """The tables that an upsert has left as they are, each with the reason."""
    return "\n".join(f"{table.entity} {table.agrees}: {table.reason}" for table in report.plan.left)


@pytest.mark.parametrize(
    ("ddl", "problem"),
    [
        ("CREATE UNIQUE INDEX ON people (id) WHERE name <> ''", "unique index … people (id)"),
        ("ALTER TABLE people ADD UNIQUE (id) DEFERRABLE", "people_id_key … people … DEFERRABLE"),
        ("ALTER TABLE people ADD PRIMARY KEY (id); CREATE RULE r AS ON UPDATE TO people DO ALSO NOTHING", "rule"),
    ],
)
def test_an_upsert_leaves_out_the_tables_that_allow_none(shapes: Shapes, ddl: str, problem: str) -> None:
    """And those that refer to them, each with the reason. Empty ones are filled, and those that agree stay."""
    refers = "ALTER TABLE people ADD UNIQUE (name, id); ALTER TABLE badges ADD name text, ADD person_id bigint;"
    shapes.create(f"ALTER TABLE people DROP CONSTRAINT people_pkey; {ddl}; {refers}")
    shapes.execute("ALTER TABLE badges ADD FOREIGN KEY (name, person_id) REFERENCES people (name, id)")
    shapes.load(Mode.UPSERT, agrees=True)
    again = shapes.load(Mode.UPSERT)
    assert mentions(left(again), "people True: … already")
    assert "badges" in {table.entity.name for table in again.plan.tables}
    shapes.execute("DELETE FROM teams WHERE ctid = (SELECT min(ctid) FROM teams); UPDATE people SET score = -1")
    report = shapes.load(Mode.UPSERT)
    assert mentions(left(report), f"people False … {problem}")
    assert mentions(left(report), "badges False … refer … people")
    assert [table.entity.name for table in report.plan.tables] == ["teams"]
    assert shapes.one("SELECT count(*) FROM people WHERE score = -1") == 30
    assert shapes.run("load", "dev", "--mode", "upsert").returncode == 1
    assert status_of(shapes.project, shapes.environment()).missing == ("people", "badges")
    error = shapes.refused(Mode.UPSERT, only=["people"])
    assert mentions(str(error), problem)
    assert "SQL" not in str(error.next_step)


def test_an_upsert_asks_about_rows_of_others_alone(shapes: Shapes) -> None:
    """Not about those that only an append has put there; and with them in between, only before the first upsert."""
    shapes.create()
    shapes.load(Mode.APPEND)
    shapes.load(Mode.UPSERT)
    shapes.execute("UPDATE teams SET title = 'mine'")
    shapes.load(Mode.UPSERT)
    shapes.empty()
    shapes.execute("DELETE FROM snapseed.loads")
    shapes.load(Mode.APPEND)
    shapes.execute("UPDATE teams SET title = 'mine'")
    assert "rows in public.teams" in str(shapes.refused(Mode.UPSERT))


def test_an_upsert_needs_a_replica_identity(shapes: Shapes) -> None:
    """The server refuses UPDATE on a published table without one."""
    shapes.create(
        """
        ALTER TABLE badges DROP CONSTRAINT badges_pkey; ALTER TABLE badges ADD UNIQUE (id);
        CREATE PUBLICATION every FOR ALL TABLES;
        """
    )
    error = shapes.refused(Mode.UPSERT)
    assert mentions(str(error), "public.badges … replica identity … UPDATE")
    shapes.execute(fix_of(error))
    shapes.load(Mode.UPSERT)


def test_rows_that_are_deleted_need_a_replica_identity(shapes: Shapes) -> None:
    """The server refuses DELETE on a published table without one, but not TRUNCATE."""
    shapes.create(
        """
        ALTER TABLE people DROP CONSTRAINT people_pkey; ALTER TABLE people ADD CONSTRAINT ids UNIQUE (id);
        CREATE PUBLICATION every FOR ALL TABLES;
        """
    )
    shapes.load()
    shapes.execute("CREATE TABLE outside (person bigint REFERENCES people (id))")
    error = shapes.refused()
    assert mentions(str(error), "public.people … replica identity … DELETE")
    shapes.execute(fix_of(error))
    assert mentions(reasons(shapes.load()), "people: … DELETE")


@pytest.mark.parametrize("mode", sorted({*Mode} - {Mode.REPAIR}))
def test_a_trigger_that_changes_rows_is_found(shapes: Shapes, mode: Mode) -> None:
    """A trigger that stays on, because the role may not turn it off, never goes unnoticed."""
    shapes.create(
        """
        CREATE FUNCTION changes() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.mark := 'changed'; RETURN NEW; END $$;
        CREATE TRIGGER t BEFORE INSERT ON badges FOR EACH ROW EXECUTE FUNCTION changes();
        CREATE SCHEMA snapseed;
        """
    )
    with shapes.role() as database:
        shapes.execute(f"GRANT ALL ON badges TO {ROLE}; GRANT ALL ON SCHEMA public, snapseed TO {ROLE}")
        shapes.execute(f"GRANT ALL ON DATABASE {shapes.one('SELECT current_database()')} TO {ROLE}")
        error = shapes.refused(mode, only=["badges"], database=database)
        assert isinstance(error, VerificationError)
        assert "badges: 60 rows as expected, but" in str(error)
        assert "look for triggers" in str(error.next_step)
    shapes.load(mode, agrees=True)


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.UPSERT])
def test_sequences_do_not_go_back_if_rows_stay(shapes: Shapes, mode: Mode) -> None:
    """Only a load that replaces all rows may move an owned sequence back."""
    shapes.create("ALTER TABLE people ALTER id ADD GENERATED BY DEFAULT AS IDENTITY")
    shapes.execute("SELECT setval('people_id_seq', 500)")
    shapes.load(mode)
    assert shapes.one("SELECT nextval('people_id_seq')") == 501
    shapes.load(consent=True)
    assert shapes.one("SELECT nextval('people_id_seq')") == 31


@pytest.mark.parametrize(
    ("options", "following"),
    [
        ("INCREMENT 10", 40),
        ("INCREMENT -1 MINVALUE -50 MAXVALUE 1000 START 1000", 0),
        ("MAXVALUE 30", 30),
        ("START 7 CYCLE MAXVALUE 40", 31),
    ],
)
def test_a_sequence_continues_after_the_furthest_key(shapes: Shapes, options: str, following: int) -> None:
    """Up or down, in its own steps, within its bounds."""
    shapes.create(f"ALTER TABLE people ALTER id ADD GENERATED ALWAYS AS IDENTITY ({options})")
    shapes.load()
    assert shapes.one("SELECT nextval('people_id_seq')") == following


def test_a_sequence_that_another_table_draws_from_does_not_go_back(shapes: Shapes) -> None:
    """Although a column owns it: the other table may have drawn later values."""
    shapes.create(
        """
        CREATE SEQUENCE numbers OWNED BY people.id; ALTER TABLE people ALTER id SET DEFAULT nextval('numbers');
        CREATE TABLE outside (id bigint PRIMARY KEY DEFAULT nextval('numbers'));
        SELECT setval('numbers', 500);
        """
    )
    shapes.load()
    assert shapes.one("SELECT nextval('numbers')") == 501


@pytest.mark.parametrize("mode", sorted({*Mode} - {Mode.REPAIR}))
def test_functions_of_the_same_names_are_not_called(shapes: Shapes, mode: Mode) -> None:
    """A search path that lists pg_catalog last does not change fingerprints."""
    shapes.create(
        """
        CREATE FUNCTION hash_record_extended(record, bigint) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
        CREATE FUNCTION int8send(bigint) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$;
        CREATE FUNCTION array_send(anyarray) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$;
        """
    )
    report = shapes.load(mode, agrees=True, database=f"{shapes.url} options='-c search_path=public,pg_catalog'")
    assert all(result.agrees for result in report.verified)


def test_rows_of_others_are_not_replaced_after_an_append(shapes: Shapes) -> None:
    """A table that a load only added to may hold rows that are not ours."""
    shapes.create(OTHERS)
    shapes.load(Mode.APPEND)
    error = shapes.refused()
    assert isinstance(error, RefusedError)
    assert "public.people" in str(error)


# ── One entity alone ─────────────────────────────────────────────────────────────────────────────────────────────────

KEYS = """
ALTER TABLE people ADD CONSTRAINT its_team FOREIGN KEY (team) REFERENCES teams;
ALTER TABLE badges ADD CONSTRAINT its_person FOREIGN KEY (person) REFERENCES people;
"""


def test_a_single_entity_needs_the_rows_that_it_refers_to(shapes: Shapes) -> None:
    """If their table is empty or lacks some of them, --with-parents loads them too."""
    shapes.create(KEYS)
    error = shapes.refused(only=["badges"])
    assert isinstance(error, UsageError)
    assert mentions(str(error), "badges … people … no rows")
    assert (error.where, error.expected) == ("badges", "rows in public.people")
    assert "--with-parents" in str(error)
    report = shapes.load(only=["badges"], with_parents=True)
    assert [table.entity.name for table in report.plan.tables] == ["teams", "people", "badges"]
    shapes.execute("DELETE FROM badges; DELETE FROM people WHERE id = 9")
    error = shapes.refused(only=["badges"])
    assert isinstance(error, LoadError)
    assert "--with-parents" in str(error.next_step)


def test_a_key_that_checks_nothing_needs_no_rows(shapes: Shapes) -> None:
    """A single entity loads if the triggers of its foreign key are off."""
    shapes.create(KEYS + "ALTER TABLE badges DISABLE TRIGGER ALL")
    shapes.load(only=["badges"], agrees=True)


def test_a_single_entity_keeps_the_rows_that_refer_to_it(shapes: Shapes) -> None:
    """Unless --with-children empties their tables, in the same transaction and without firing their triggers."""
    shapes.create(
        KEYS
        + """
        CREATE TABLE stamps (badge uuid REFERENCES badges ON DELETE CASCADE, person bigint REFERENCES people);
        CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
        CREATE TRIGGER empties BEFORE TRUNCATE ON stamps EXECUTE FUNCTION fails();
        CREATE TRIGGER deletes BEFORE DELETE ON stamps FOR EACH ROW EXECUTE FUNCTION fails();
        """
    )
    shapes.load()
    shapes.execute("INSERT INTO stamps SELECT id, person FROM badges")
    error = shapes.refused(only=["people"])
    assert isinstance(error, UsageError)
    assert "rows of public.badges refer to public.people" in str(error)
    assert "rows of public.stamps refer to public.people" in str(error)
    assert error.where == "public.people"
    assert "--with-children" in str(error)
    assert isinstance(shapes.refused(only=["people"], with_children=True), RefusedError)
    report = shapes.load(only=["people"], with_children=True, consent=True)
    assert [str(child.table) for child in report.plan.children] == ["public.stamps", "public.badges"]
    assert "off during the load: triggers deletes, empties" in report.plan.children[0].reasons
    (stamps, _) = json.loads(json.dumps(document(report)))["children"]
    assert stamps["disable"] == ["deletes", "empties"]
    assert shapes.execute("SELECT (SELECT count(*) FROM badges), count(*) FROM stamps") == [(0, 0)]
    shapes.load()
    # With a third table in the way, all are emptied by DELETE, tables that refer to others first.
    shapes.execute("INSERT INTO stamps SELECT id, person FROM badges; DROP TRIGGER deletes ON stamps")
    with shapes.role() as database:
        shapes.execute(
            f"""
            GRANT USAGE ON SCHEMA public, snapseed TO {ROLE}; GRANT SELECT, INSERT ON snapseed.loads TO {ROLE};
            GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE};
            """
        )
        report = shapes.load(only=["people"], with_children=True, consent=True, database=database)
    assert {str(child.empty_by) for child in report.plan.children} == {"delete"}
    assert "triggers empties stay on: the role does not own the table" in report.plan.children[0].reasons
