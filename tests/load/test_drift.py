"""A schema that has drifted: all problems are reported at once, before any change, and the printed SQL fixes them."""

from __future__ import annotations

import pytest

from snapseed import verify_snapshot
from snapseed.errors import SchemaError
from tests.load.shapes import Shapes, fix_of


@pytest.mark.parametrize(
    ("ddl", "problem"),
    [
        ("ALTER TABLE people DROP seat", "people.seat does not exist (expected integer)"),
        ('ALTER TABLE people RENAME seat TO "Seat"', "people.seat does not exist (expected integer)"),
        ("ALTER TABLE people ALTER score TYPE bigint", "people.score is bigint, expected integer"),
        ("ALTER TABLE people ALTER score TYPE text", "people.score is text, expected integer"),
        ("ALTER TABLE people ALTER born TYPE timestamptz", "people.born is timestamp with time zone, expected date"),
        ("ALTER TABLE people ALTER born TYPE text", "people.born is text, expected date"),
        ("ALTER TABLE people ALTER note TYPE json", "people.note is json, expected jsonb"),
        ("ALTER TABLE people ALTER loose TYPE text", "people.loose is text, expected json"),
        ("ALTER TABLE people ALTER tags TYPE text USING tags::text", "people.tags is text, expected text[]"),
        ("ALTER TABLE badges ALTER id TYPE text", "badges.id is text, expected uuid"),
        ("ALTER TABLE people ALTER seat TYPE uuid USING NULL", "people.seat is uuid, expected integer"),
        (
            "ALTER TABLE people ALTER name TYPE varchar(3)",
            "people.name is character varying(3), and the snapshot's longest value has 6 characters",
        ),
        (
            "ALTER TYPE grade RENAME VALUE 'high' TO 'top'; ALTER TYPE grade RENAME VALUE 'It''s' TO 'Its'",
            """badges.grade: the type grade has no label "It's"; badges.grade: the type grade has no label 'high'""",
        ),
        ("ALTER TABLE badges ALTER grade TYPE bytea USING NULL", "badges.grade is bytea, expected grade"),
        (
            "CREATE TYPE vector AS (x integer); ALTER TABLE badges ALTER mark TYPE vector USING NULL",
            "badges.mark is vector, expected text",
        ),
        (
            "CREATE TYPE metal AS ENUM ('iron'); ALTER TABLE badges ALTER mark TYPE metal USING NULL",
            "badges.mark is metal, expected text",
        ),
    ],
)
def test_a_problem_is_named_and_fixed(shapes: Shapes, ddl: str, problem: str) -> None:
    """By table and column. After its SQL has run, the load works."""
    shapes.create()
    shapes.execute(ddl)
    error = shapes.refused()
    assert isinstance(error, SchemaError)
    assert problem in str(error)
    assert error.where == problem.partition(".")[0].rpartition(" ")[2]
    shapes.execute(fix_of(error))
    shapes.load()


def test_rows_that_a_constraint_refuses_are_the_generators(shapes: Shapes) -> None:
    """The error names the constraint, and the command that makes others."""
    shapes.create()
    shapes.execute("ALTER TABLE people ADD CONSTRAINT low CHECK (score < 0) NOT VALID")
    error = shapes.refused()
    assert "'low'" in (error.where or "")
    assert "`snapseed generate dev`" in (error.next_step or "")


@pytest.mark.parametrize(
    ("ddl", "problem"),
    [
        (
            "ALTER TABLE people ALTER score TYPE text; ALTER TABLE people ALTER score SET DEFAULT 'x'",
            "people.score is text, expected integer",
        ),
        (
            "ALTER TABLE people ALTER score TYPE bigint; CREATE VIEW scores AS SELECT score FROM people",
            "people.score is bigint, expected integer",
        ),
        (
            "ALTER TABLE people ALTER name TYPE varchar(3); CREATE POLICY named ON people USING (name <> '')",
            "people.name is character varying(3), and the snapshot's longest value has 6 characters",
        ),
        (
            "ALTER TABLE badges DROP CONSTRAINT badges_pkey; ALTER TABLE badges ADD at date, ADD PRIMARY KEY (id, at)",
            "badges.at is NOT NULL without a default",
        ),
        (
            "CREATE DOMAIN sure AS integer NOT NULL; ALTER TABLE people ALTER seat TYPE sure",
            "people.seat is NOT NULL by its domain, and NULL in 15 rows of the snapshot",
        ),
        (
            "CREATE DOMAIN sure AS integer NOT NULL; CREATE DOMAIN surer AS sure; ALTER TABLE people ADD needed surer",
            "people.needed is NOT NULL by its domain without a default, and not in the snapshot",
        ),
        (
            "ALTER TABLE people ADD needed integer NOT NULL",
            "people.needed is NOT NULL without a default, and not in the snapshot",
        ),
        ("ALTER TABLE people ALTER seat SET NOT NULL", "people.seat is NOT NULL, and NULL in 15 rows of the snapshot"),
        (
            "ALTER TABLE people DROP score; ALTER TABLE people ADD score integer GENERATED ALWAYS AS (7) STORED",
            "people.score is a generated column",
        ),
        ("DROP TABLE badges", "table badges does not exist"),
        ("DROP TABLE badges; CREATE VIEW badges AS SELECT 1 AS id", "badges is not a table"),
        (
            "CREATE SCHEMA app; ALTER TABLE badges SET SCHEMA app",
            "a table badges is in schema app: name it in the entity's schema, or put it on the search_path",
        ),
    ],
)
def test_a_problem_without_a_plain_fix_is_only_named(shapes: Shapes, ddl: str, problem: str) -> None:
    """No SQL is suggested that would not work, and none that would weaken the schema."""
    shapes.create()
    shapes.execute(ddl)
    error = shapes.refused()
    assert problem in str(error.observed)
    assert "SQL" not in str(error.next_step)


def test_all_problems_at_once(shapes: Shapes) -> None:
    """One error reports everything wrong with tables and columns; its SQL fixes what needs no weakening."""
    shapes.create(
        """
        ALTER TABLE teams ALTER captain TYPE text, ALTER title TYPE varchar(2), ADD needed text NOT NULL;
        ALTER TABLE people DROP team, ALTER seat SET NOT NULL, ALTER born TYPE timestamp;
        ALTER TABLE badges ALTER id TYPE text;
        """
    )
    error = shapes.refused()
    for problem in (
        "teams.captain is text",
        "teams.needed is NOT NULL",
        "teams.title is character varying(2)",
        "people.seat is NOT NULL",
        "people.team does not exist",
        "people.born is timestamp",
        "badges.id is text",
    ):
        assert problem in str(error)
    # What to change in the generators comes first.
    generators = str(error.next_step).partition("SQL")[0]
    for remedy in (
        "declare teams.captain as text",
        "declare teams.title as character varying(2)",
        "add needed text to teams",
        "draw no NULL for people.seat",
        "leave team out of people",
        "declare badges.id as text",
    ):
        assert remedy in generators
    shapes.execute(fix_of(error))
    shapes.execute("ALTER TABLE teams ALTER needed DROP NOT NULL; ALTER TABLE people ALTER seat DROP NOT NULL")
    shapes.load()


def test_tables_on_no_search_path_are_found_elsewhere(shapes: Shapes) -> None:
    """If none is found and none may be created, the error says where tables of these names are."""
    shapes.create("CREATE SCHEMA app; ALTER TABLE teams SET SCHEMA app; ALTER TABLE people SET SCHEMA app;")
    shapes.execute("ALTER TABLE badges SET SCHEMA app")
    error = shapes.refused(create_schema=False)
    assert "a table people is in schema app" in str(error)
    url = f"{shapes.url} options='-c search_path=app'"
    assert {str(table.table) for table in shapes.load(database=url).plan.tables} == {
        "app.teams",
        "app.people",
        "app.badges",
    }
    assert verify_snapshot(shapes.project, shapes.environment(database=url)).agrees
