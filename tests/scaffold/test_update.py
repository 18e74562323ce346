"""`snapseed init --from-database --update`: a migration after the project was written."""

from __future__ import annotations

import pytest

from tests.conftest import Connection, Sandbox
from tests.scaffold.conftest import Init, load

BEFORE = """
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id serial PRIMARY KEY, customer_id integer NOT NULL REFERENCES customers, total numeric(10, 2));
CREATE TABLE gone (id integer PRIMARY KEY);
"""
MIGRATION = """
ALTER TABLE customers ADD city text, ADD email text, ADD born date;
ALTER TABLE orders ALTER total TYPE bigint, ADD note text;
CREATE TABLE lines (
    id bigserial PRIMARY KEY, order_id integer NOT NULL REFERENCES orders ON DELETE CASCADE, company text);
DROP TABLE gone;
"""


@pytest.fixture
def project(init: Init) -> Sandbox:
    """A project of the tables before the migration, loaded, so that its tables hold its own rows."""
    made = init(BEFORE)
    load(made)
    return made


def update(project: Sandbox, database: str) -> str:
    """What an update prints."""
    return project.run("init", "--from-database", database, "--update", ".", check=True).stdout


def test_a_migration_is_followed(project: Sandbox, connection: Connection, database: str) -> None:
    """New tables and columns are added, and work; what is gone or changed is named; a second run adds nothing."""
    assert "nothing to do" in update(project, database)
    connection.execute(MIGRATION.encode())
    generators = project.folder / "generators"
    path = generators / "customers.py"
    path.write_text(path.read_text().replace('"""Customers."""', '"""By hand."""'))
    before = path.read_text().splitlines()
    told = update(project, database)
    for line in ("removed table: gone", "orders.total is bigint, declared as numeric(10,2)", "generators/lines.py"):
        assert line in told
    after = path.read_text().splitlines()
    assert [line for line in after if line in before] == before
    assert {'        "city": "text",', '        "born": "date",'} < {*after}
    again = update(project, database)
    assert "generators/" not in again
    assert "removed table: gone" in again
    text = (generators / "orders.py").read_text().replace("numeric(10,2)", "bigint")
    text = text.replace("return pl.DataFrame(", "frame = pl.DataFrame(")
    text += '    return frame.with_columns(total=rows.integers("total", 1, 200))\n'
    (generators / "orders.py").write_text(text)
    (generators / "gone.py").unlink()
    project.run("generate", "--scale", "40", "--quiet", check=True)
    project.run("load", "dev", "--quiet", "--yes", check=True)
    assert connection.execute("SELECT count(*) > 0 FROM lines").fetchone() == (True,)
    assert connection.execute("SELECT count(email) > 0 AND count(born) > 0 FROM customers").fetchone() == (True,)
    assert "nothing to do" in update(project, database)


def test_code_of_another_form_is_not_touched(project: Sandbox, connection: Connection, database: str) -> None:
    """The lines to add are shown."""
    path = project.folder / "generators" / "customers.py"
    text = path.read_text().replace("return pl.DataFrame(", "frame = pl.DataFrame(") + "    return frame\n"
    path.write_text(text)
    connection.execute(MIGRATION.encode())
    told = update(project, database)
    assert path.read_text() == text
    assert "new columns of customers, to add by hand" in told
    assert "city text: rows.choice" in told


def test_an_update_needs_a_project_and_a_database(project: Sandbox, database: str) -> None:
    """Nothing is written without them."""
    assert project.run("init", "--update", ".").returncode == 2
    assert Sandbox(project.folder.parent, "").run("init", "--from-database", database, "--update", ".").returncode == 2
