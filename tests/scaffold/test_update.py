"""`snapseed init --from-database --update`: a migration after the project was written."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from snapseed.cli.app import app
from snapseed.scaffold.project import ScaffoldRequest, scaffold_project
from tests.conftest import Connection, Sandbox
from tests.scaffold.conftest import Init, load

BEFORE = """
CREATE TYPE plan AS ENUM ('free', 'pro');
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL, old integer, plan plan NOT NULL);
CREATE TABLE orders (id serial PRIMARY KEY, customer_id integer NOT NULL REFERENCES customers, total numeric(10, 2));
CREATE TABLE gone (id integer PRIMARY KEY);
CREATE TABLE parts (id serial PRIMARY KEY, gone_id integer NOT NULL REFERENCES gone ON DELETE CASCADE);
"""
MIGRATION = """
ALTER TABLE customers ADD city text, ADD email text, ADD born date;
ALTER TABLE orders ALTER total TYPE bigint, ADD note text;
CREATE TABLE lines (
    id bigserial PRIMARY KEY, order_id integer NOT NULL REFERENCES orders ON DELETE CASCADE, company text);
DROP TABLE gone CASCADE;
ALTER TYPE plan RENAME VALUE 'pro' TO 'plus';
ALTER TYPE plan ADD VALUE 'team';
ALTER TABLE customers DROP COLUMN old;
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
    before = [line for line in path.read_text().splitlines() if line and "import" not in line]
    told = update(project, database)
    others = "once these no longer import it: generators/parts.py"
    for line in ("orders.total is bigint, declared as numeric(10,2)", "generators/lines.py", "for plan: plus, team"):
        assert line in told
    assert [line.strip() for line in told.partition("next:\n")[2].splitlines()[:3]] == [
        "gone from the database, to delete by hand in generators/customers.py: old",
        "gone from plan, to replace by hand in generators/customers.py: pro",
        f"gone from the database, to delete by hand: generators/gone.py, {others}",
    ]
    assert "git add -N" in told  # Without it, git diff shows no new module.
    after = path.read_text().splitlines()
    assert [line for line in after if line in before] == before
    assert {'        "city": "text",', '        "born": "date",'} < {*after}
    again = update(project, database)
    assert "added to" not in again
    assert "generators/gone.py" in again
    text = (generators / "orders.py").read_text().replace("numeric(10,2)", "bigint")
    text = text.replace("return pl.DataFrame(", "frame = pl.DataFrame(")
    text += '    return frame.with_columns(total=rows.integers("total", 1, 200))\n'
    (generators / "orders.py").write_text(text)
    for name in ("gone", "parts"):
        (generators / f"{name}.py").unlink()
    connection.execute("DROP TABLE parts")
    text = path.read_text().replace('["free", "pro"]', '["free", "plus", "team"]')
    path.write_text(re.sub('"old": .*?(?="plan": )', "", text, flags=re.DOTALL))
    project.run("generate", "--scale", "40", "--quiet", check=True)
    project.run("load", "dev", "--quiet", "--yes", check=True)
    assert connection.execute("SELECT count(*) > 0 FROM lines").fetchone() == (True,)
    assert connection.execute("SELECT count(email) > 0 AND count(born) > 0 FROM customers").fetchone() == (True,)
    assert "nothing to do" in update(project, database)


HARD = """
CREATE TABLE roles (id integer PRIMARY KEY);
INSERT INTO roles VALUES (1);
CREATE TABLE hard (id integer PRIMARY KEY, line path NOT NULL);
ALTER TABLE customers ADD line path, ADD amount numeric(10, 2), ADD seen_at timestamptz;
"""


def test_an_update_writes_in_place_and_tells_the_rest(connection: Connection, database: str, tmp_path: Path) -> None:
    """In a folder of any name, with the line breaks of a module and sorted imports, if git has it.

    It names what is missing.
    """
    connection.execute(BEFORE.encode())
    url = ["--from-database", database]
    assert CliRunner().invoke(app, ["init", str(tmp_path), *url]).exit_code == 0
    folder, settings = tmp_path / "seeds", tmp_path / "snapseed.toml"
    (tmp_path / "generators").rename(folder)
    settings.write_text(settings.read_text().replace('"generators"', '"seeds"'))
    text = (folder / "customers.py").read_text().replace('"""Customers."""', '"""Customers\x0c\u2028."""')
    (folder / "customers.py").write_text(text, newline="\r\n")
    words = folder / "words.py"
    words.write_text(words.read_text() + "# No CITIES = [ here.\n")
    connection.execute((MIGRATION + HARD).encode())
    before = (folder / "customers.py").read_bytes()
    for arguments in (["init", "--quiet"], ["add", "seeds/orders.py"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)  # noqa: S607 - of the PATH
    refused = CliRunner().invoke(app, ["init", str(tmp_path), *url, "--update"])
    assert refused.exit_code == 3
    assert (folder / "customers.py").read_bytes() == before
    subprocess.run(["git", "add", "seeds"], cwd=tmp_path, check=True)  # noqa: S607 - of the PATH
    commit = ["-c", "user.name=Me", "-c", "user.email=me@example.org", "commit", "--quiet", "--message=Seeds"]
    subprocess.run(["git", *commit], cwd=tmp_path, check=True)  # noqa: S607 - of the PATH
    told = CliRunner().invoke(app, ["init", str(tmp_path), *url, "--update"])
    assert told.exit_code == 0, told.output
    assert not (tmp_path / "generators").exists()
    assert (folder / "lines.py").exists()
    after = (folder / "customers.py").read_bytes().decode()
    assert after.count("\r\n") == after.count("\n") > text.count("\n")
    fresh = scaffold_project(ScaffoldRequest(database)).files
    assert imports_of(after) == imports_of(fresh["generators/customers.py"])
    assert "\nCITIES = [" in words.read_text()
    for missing in ("roles", "hard", "column customers.line path"):
        assert f"not in the project: {missing}" in told.output
    connection.execute("ALTER TABLE customers ADD mood text")
    without_git = CliRunner().invoke(app, ["init", str(tmp_path), *url, "--update"], env={"PATH": ""})
    assert without_git.exit_code == 0, without_git.output


def imports_of(text: str) -> list[str]:
    """The import statements of a module, in order."""
    return [ast.unparse(node) for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]


def test_code_of_another_form_is_not_touched(project: Sandbox, connection: Connection, database: str) -> None:
    """The lines to add are shown."""
    path = project.folder / "generators" / "customers.py"
    text = path.read_text().replace("return pl.DataFrame(", "frame = pl.DataFrame(") + "    return frame\n"
    path.write_text(text)
    connection.execute(MIGRATION.encode())
    told = update(project, database)
    assert path.read_text() == text
    assert "generators/customers.py is not as init writes it" in told
    for line in ('  "city": "text",', '  "city": rows.choice("place", CITIES),'):
        assert line in told


def test_an_update_needs_a_project_and_a_database(project: Sandbox, database: str) -> None:
    """Nothing is written without them."""
    assert project.run("init", "--update", ".").returncode == 2
    assert Sandbox(project.folder.parent, "").run("init", "--from-database", database, "--update", ".").returncode == 2
