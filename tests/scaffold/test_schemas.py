"""A project made from a schema fills it right away: published schemas, our own, and one meant to be difficult."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.capture.conftest import difference, project_in, restored, state_of
from tests.conftest import Connection, new_database
from tests.scaffold.conftest import EXAMPLE, SCHEMAS, Init, load, module, said

FILES = {
    **{name: SCHEMAS / f"{name}.sql" for name in ("pagila", "chinook", "northwind", "hostile")},
    "example": EXAMPLE,
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in {"chinook", "northwind"})) for name in FILES]
)
def test_what_init_writes_generates_loads_and_verifies_at_once(
    name: str, init: Init, database: str, server: str, tmp_path: Path
) -> None:
    """The commands that init names end with 0, ruff finds nothing, and a capture gives the same again."""
    project = init(FILES[name].read_text(encoding="utf-8"))
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E4,E7,E9,F,I,UP,B"]
    shown = subprocess.run([*ruff, str(project.folder / "generators")], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stdout
    for scale in ("1", "100"):
        project.run("generate", "--scale", scale, check=True)
        project.run("load", "dev", "--yes", check=True)
    project.run("verify", "dev", check=True)
    project.run("generate", "--check", check=True)
    for entity in project.run_json("show", "dev")["entities"]:  # type: ignore[attr-defined]
        assert entity["rows"] > 0, entity["name"]
    (tmp_path / "copy").mkdir()
    captured = project_in(tmp_path / "copy", database)
    captured.capture()
    with new_database(server) as url:
        restored(captured, url)
        assert difference(state_of(database), url) == ""


@pytest.mark.parametrize("name", FILES)
def test_every_entity_is_short_and_says_what_it_is(name: str, init: Init) -> None:
    """A module has a docstring, a TODO only for what init names, and no parameter that it does not use."""
    project = init(FILES[name].read_text(encoding="utf-8"))
    for path in (project.folder / "generators").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith('"""')
        assert text.count("TODO") == len(re.findall(r",\s(?:# )?because\s", text))
        for parameter in re.findall(r"(\w+): pl\.DataFrame", text):
            assert f"{parameter}[" in text or f"{parameter})" in text, f"{path.name}: {parameter}"


def test_pagila_is_understood(init: Init, connection: Connection) -> None:
    """Rentals belong to customers and payments to rentals; lookups have names; partitions and cycles work."""
    project = init(FILES["pagila"].read_text(encoding="utf-8"))
    assert "parent=rental" in module(project, "payment")
    assert "parent=customer" in module(project, "rental")
    assert '"English"' in module(project, "language")
    load(project, 100)
    facts = {
        "a payment is its rental's customer's": """
            SELECT bool_and(p.customer_id = r.customer_id) FROM payment p JOIN rental r USING (rental_id)""",
        "returned after it was rented": "SELECT bool_and(return_date >= rental_date) FROM rental",
        "a customer's mail address has the name in it": """
            SELECT bool_and(email LIKE lower(first_name || '.' || last_name) || '%@example.com') FROM customer""",
        "a year of the domain": "SELECT bool_and(release_year BETWEEN 1901 AND 2155) FROM film",
        "each store has a manager of its own": "SELECT count(DISTINCT manager_staff_id) = count(*) FROM store",
        "several ratings": "SELECT count(DISTINCT rating) > 1 FROM film",
        "every partition has rows": "SELECT count(DISTINCT tableoid) = 3 FROM payment",
    }
    for fact, query in facts.items():
        assert connection.execute(query.encode()).fetchone() == (True,), fact


JOINED = {
    "pagila": {"film_actor": "film_id", "film_category": "film_id"},
    "chinook": {'"PlaylistTrack"': '"PlaylistId"'},
    "northwind": {"order_details": "order_id", "employee_territories": "territory_id"},
    "hostile": {"follows": "follower_id", "tasks": "tenant_id, project_id"},
}


@pytest.mark.parametrize("name", JOINED)
def test_a_row_is_joined_with_several_others(name: str, init: Init, connection: Connection) -> None:
    """A film has several actors, an order several products, but not every one, and not all as many."""
    load(init(FILES[name].read_text(encoding="utf-8")), 100)
    for table, parent in JOINED[name].items():
        query = f"SELECT max(n) > 2, count(DISTINCT n) > 2 FROM (SELECT count(*) n FROM {table} GROUP BY {parent}) a"  # noqa: S608
        assert connection.execute(query.encode()).fetchone() == (True, True), table


def test_what_is_difficult_is_named(init: Init) -> None:
    """Unknown constraints, columns that stay NULL, tables left out: init prints them, and modules have them."""
    project = init(FILES["hostile"].read_text(encoding="utf-8"))
    for line in (
        "left out: pairs: column a_pair: ",
        "left out: of_pairs: it needs rows of pairs",
        "left out: unmade: ",
        "EXCLUDE USING btree (((id * 2)) WITH =) could not be evaluated",
        "a_pair: NULL, ",
        "head_id: NULL, ",
    ):
        assert line in said(project)
    assert "# EXCLUDE USING btree (((id * 2)) WITH =) could not be evaluated." in module(project, "colours")
    assert not (project.folder / "generators" / "everybody.py").exists()  # a view


def test_the_hostile_rows_are_what_the_checks_ask_for(init: Init, connection: Connection) -> None:
    """The checks do not hold by luck: the columns use all the values that they allow."""
    load(init(FILES["hostile"].read_text(encoding="utf-8")), 100)
    facts = {
        "each status": "SELECT count(DISTINCT status) = 3 FROM products",
        "prices differ": "SELECT count(DISTINCT price) > 50 FROM products",
        "composite references": "SELECT count(DISTINCT depends_on) > 10 FROM tasks",
        "two references to one table": "SELECT bool_or(sender_id <> receiver_id) FROM messages",
        "an answer is in the same exchange": """
            SELECT bool_and(m.sender_id = r.sender_id) FROM messages m JOIN messages r ON m.reply_to = r.id""",
        "a folder is inside another": "SELECT count(*) FILTER (WHERE parent_id <> id) > 90 FROM folders",
        "both sides of the list": "SELECT count(DISTINCT region) = 3 FROM events",
        "rooms are booked once at a time": "SELECT count(*) = 100 FROM bookings",
        "enum with a quotation mark": """SELECT count(DISTINCT "Mood") = 3 FROM "Sales Dept"."Line Items" """,
    }
    for fact, query in facts.items():
        assert connection.execute(query.encode()).fetchone() == (True,), fact
