"""Tables whose keys have several columns: generated, loaded, verified, compared, and put right row by row."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from snapseed import LoadRequest, Mode, load_snapshot, verify_snapshot
from snapseed.errors import LoadError, SchemaError
from tests.conftest import Sandbox
from tests.load.shapes import mentions
from tests.projects.state import generated

KEYS = "SELECT film_id::text, actor_id::text FROM film_actor ORDER BY film_id, actor_id"


@pytest.fixture
def films(make_project: Callable[[str], Sandbox]) -> Sandbox:
    """A generated snapshot of films and their actors."""
    return generated(make_project("films"))


def execute(sandbox: Sandbox, statement: str) -> list[tuple[object, ...]]:
    """The rows of a statement, if it has any."""
    with sandbox.connect() as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def findings(sandbox: Sandbox, command: str) -> list[dict[str, Any]]:
    """What a command with findings says about each entity."""
    shown = sandbox.run(command, "dev", "--format", "json")
    assert shown.returncode == 1
    entities: list[dict[str, Any]] = json.loads(shown.stdout)["entities"]
    return entities


def test_a_damaged_row_is_named_and_an_upsert_repairs_it(make_project: Callable[[str], Sandbox]) -> None:
    """With commands only, from the generators on: changed, deleted and added rows are each named by their whole key."""
    sandbox = make_project("films")
    sandbox.run("generate", check=True)
    sandbox.run("generate", "--check", check=True)
    sandbox.run("load", "dev", check=True)
    sandbox.run("verify", "dev", check=True)
    assert execute(sandbox, "SELECT max(n) > 3 FROM (SELECT count(*) n FROM film_actor GROUP BY film_id) a") == [
        (True,)
    ]
    changed, missing = execute(sandbox, KEYS)[40:42]
    with sandbox.connect() as connection:
        connection.execute(
            "UPDATE film_actor SET role = 'stunt' WHERE (film_id::text, actor_id::text) = (%s, %s)", changed
        )
        connection.execute("DELETE FROM takes WHERE (film_id::text, actor_id::text) = (%s, %s)", missing)
    shown = sandbox.run("diff", "dev")
    assert shown.returncode == 1
    assert f"  ~ ({changed[0]}, {changed[1]})\n      role - " in shown.stdout
    for number in (0, 1):
        assert f"  - ({missing[0]}, {missing[1]}, {number}): seconds " in shown.stdout
    found = {entity["entity"]: entity for entity in findings(sandbox, "diff")}
    assert found["film_actor"]["changed_rows"][0]["key"] == list(changed)
    assert [row["key"] for row in found["takes"]["removed_rows"]] == [[*missing, "0"], [*missing, "1"]]
    (chunk,) = {entity["entity"]: entity for entity in findings(sandbox, "verify")}["takes"]["chunks"]
    assert [type(value) for value in chunk["first_key"]] == [int, str, int]
    before = execute(sandbox, "SELECT xmin::text, * FROM film_tag")
    sandbox.run("load", "dev", "--mode", "upsert", "--yes", check=True)
    sandbox.run("diff", "dev", check=True)
    assert execute(sandbox, "SELECT xmin::text, * FROM film_tag") == before


def test_an_upsert_changes_what_differs_in_all_of_the_key(films: Sandbox) -> None:
    """Rows that share one column of the key with others stay; the verification looks at the rows of these keys."""
    load_snapshot(films.project, films.environment())
    execute(
        films,
        "INSERT INTO seats VALUES (-3, 99, 'mine'), (99, 0, 'mine'); UPDATE seats SET label = 'x' WHERE number = 3",
    )
    report = load_snapshot(films.project, films.environment(), LoadRequest(mode=Mode.UPSERT, consent=True))
    assert execute(films, "SELECT hall, number FROM seats WHERE label = 'mine' ORDER BY 1") == [(-3, 99), (99, 0)]
    assert execute(films, "SELECT count(*) FROM seats WHERE label = 'x'") == [(0,)]
    assert {result.entity: result.agrees for result in report.verified} == dict.fromkeys(
        ["actors", "films", "film_actor", "takes", "film_tag", "seats"], True
    )


def test_an_append_adds_to_existing_rows(films: Sandbox) -> None:
    """A key that exists in all its columns ends the load, others do not."""
    execute(films, (films.folder / "generators" / "schema.sql").read_text())
    execute(films, "INSERT INTO seats VALUES (-3, 99, 'mine')")
    load_snapshot(films.project, films.environment(), LoadRequest(mode=Mode.APPEND))
    with pytest.raises(LoadError, match="seats_pkey"):
        load_snapshot(films.project, films.environment(), LoadRequest(mode=Mode.APPEND, only=["seats"], consent=True))


@pytest.mark.parametrize(
    ("index", "problem"),
    [
        ("CHECK (hall < 100)", "unique index … seats (hall, number)"),
        ("UNIQUE (hall, number, label)", "unique index … seats (hall, number)"),
        ("UNIQUE (number, hall) DEFERRABLE", "seats_number_hall_key … DEFERRABLE"),
    ],
)
def test_an_upsert_needs_a_unique_index_over_just_these_columns(films: Sandbox, index: str, problem: str) -> None:
    """In any order, but not over more columns. A table without one is only filled if it is empty."""
    schema = (films.folder / "generators" / "schema.sql").read_text()
    execute(films, schema.replace("PRIMARY KEY (hall, number)", index))
    request = LoadRequest(mode=Mode.UPSERT, only=["seats"])
    load_snapshot(films.project, films.environment(), request)
    assert verify_snapshot(films.project, films.environment(), only=["seats"]).agrees
    execute(films, "UPDATE seats SET label = 'other'")
    with pytest.raises(SchemaError) as caught:
        load_snapshot(films.project, films.environment(), request)
    assert mentions(str(caught.value), problem)
    assert "SQL" not in str(caught.value.next_step)
