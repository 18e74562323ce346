"""`snapseed init`: complete starters, written into any folder without touching what is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapseed import find_project
from snapseed.servers import EmbeddedPostgres
from tests.conftest import Connection, Sandbox, WithData, new_database
from tests.projects.state import contents

STARTERS = {"shop": ("test", "customers"), "media": ("ci", "embeddings")}
WORKFLOW = ".github/workflows/snapseed.yml"


@pytest.fixture
def new(tmp_path: Path, database: str) -> Iterator[Sandbox]:
    """The folder `new`, which is not there yet, and whose embedded server is stopped at the end."""
    yield Sandbox(tmp_path / "new", database)
    EmbeddedPostgres(tmp_path / "new").stop()


def init(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `snapseed init` says in a folder."""
    return Sandbox(folder, "").run("init", *arguments)


def files_in(folder: Path) -> dict[str, str]:
    """Every file below a folder, git's own aside."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


def is_tracked(folder: Path, name: str) -> bool:
    """Whether git would add this file."""
    command = ["git", "check-ignore", "--quiet", name]
    return subprocess.run(command, cwd=folder, check=False).returncode == 1


@pytest.mark.parametrize("starter", STARTERS)
def test_a_starter_works_as_its_last_lines_say(starter: str, new: Sandbox, with_data: WithData) -> None:
    """In an empty folder, the commands that init prints: the whole way to verified rows, without any other option."""
    arguments = [] if starter == "shop" else ["--example", starter]
    shown = init(new.folder.parent, "new", *arguments)
    for name in files_in(new.folder):
        assert name in shown.stdout
    with_data(new.folder)
    first, *lines = [line.strip() for line in shown.stdout.partition("next:\n")[2].splitlines()]
    assert first == "cd new"
    commands = [command.split() for line in lines for command in line.partition("#")[0].split("&&")]
    assert ["snapseed", "load"] in commands
    # The first line of the settings says the same.
    assert "snapseed generate && snapseed load" in (new.folder / "snapseed.toml").read_text().partition("\n")[0]
    small = ["--scale", "20"] if starter == "media" else []
    for program, *words in commands:
        if program == "pytest":
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
                cwd=new.folder,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            new.run(*words, *small * (words == ["generate"]), check=True)
    assert new.run("verify").returncode == 0
    committed, entity = STARTERS[starter]
    with new.connect() as connection:
        query = sql.SQL("SELECT count(*) > 0 FROM {}").format(sql.Identifier(entity))
        assert connection.execute(query).fetchone() == (True,)
    subprocess.run(["git", "init", "--quiet"], cwd=new.folder, check=True)  # noqa: S607 - from the PATH
    assert is_tracked(new.folder, f"snapshots/{committed}/manifest.json")
    assert not is_tracked(new.folder, "snapshots/dev/manifest.json")
    assert not is_tracked(new.folder, ".snapseed/x")


def test_the_shop_is_small(tmp_path: Path) -> None:
    """Something to read in one go and to copy: one module of less than 100 lines, and a test of three."""
    init(tmp_path)
    made = files_in(tmp_path)
    assert [len(text.splitlines()) < 100 for name, text in made.items() if name.endswith("shop.py")] == [True, True]
    assert len(made["tests/test_shop.py"].splitlines()) == 3
    assert "vector" not in "".join(made.values())


def test_the_workflow_may_load_into_its_service(tmp_path: Path) -> None:
    """A service is a container: it has an address of its own, so its host must be allowed."""
    init(tmp_path)
    (job,) = yaml.safe_load((tmp_path / WORKFLOW).read_text())["jobs"].values()
    host = conninfo_to_dict(job["env"]["DATABASE_URL"])["host"]
    assert host in find_project(tmp_path).environment("ci").allow_hosts


def test_a_repository_that_exists_keeps_all_that_it_has(tmp_path: Path) -> None:
    """Init writes what is missing, adds lines to git's own files, and says which is which."""
    before = {"README.md": "mine", "tests/test_shop.py": "mine", ".gitignore": "node_modules/", WORKFLOW: "name: mine"}
    for name, text in before.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    shown = init(tmp_path)
    assert shown.returncode == 0
    after = files_in(tmp_path)
    for name, text in before.items():
        assert after[name].startswith(text)
    assert {name for name in before if after[name] == before[name]} == before.keys() - {".gitignore"}
    assert after[".gitignore"].splitlines()[:2] == ["node_modules/", ".snapseed/"]
    lines = {line.split()[-1]: line for line in shown.stdout.splitlines() if line.startswith("  ")}
    assert "left" in lines["tests/test_shop.py"]
    assert "left" in lines[WORKFLOW]
    assert "added" in lines[".gitignore"]
    assert "wrote" in lines["snapseed.toml"]
    assert "cd " not in shown.stdout


def test_lines_for_git_are_added_once(tmp_path: Path) -> None:
    """What is there already is not repeated, even by a second project in the same folder."""
    init(tmp_path)
    before = files_in(tmp_path)
    for name in ("snapseed.toml", "generators/shop.py", "generators/schema.sql"):
        (tmp_path / name).unlink()
    (tmp_path / "generators").rmdir()
    init(tmp_path)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("place", ["services/my shop", "."])
def test_the_workflow_stands_where_github_reads_it(place: str, tmp_path: Path) -> None:
    """At the top of the repository, with the project's folder as the place to run in."""
    (tmp_path / ".git").mkdir()
    shown = init(tmp_path, place)
    document = yaml.safe_load((tmp_path / WORKFLOW).read_text())
    assert document["jobs"]["test"]["defaults"]["run"]["working-directory"] == place
    assert not (tmp_path / place / ".github").exists() or place == "."
    assert WORKFLOW in shown.stdout
    assert "snapseed git setup" in shown.stdout.partition("next:")[2]
    assert (tmp_path / place / "snapseed.toml").exists()


@pytest.mark.parametrize("there", ["snapseed.toml", "generators/mine.py", "pyproject.toml"])
@pytest.mark.parametrize("arguments", [[], ["--example", "media"], ["--from-database", "postgresql://127.0.0.1:1/x"]])
def test_a_project_is_never_overwritten(there: str, arguments: list[str], tmp_path: Path) -> None:
    """Nor mixed with another: nothing is written, and no server is asked."""
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("[tool.snapseed]\n")
    shown = init(tmp_path, *arguments)
    assert shown.returncode == 2
    assert "nothing was written" in shown.stderr
    assert files_in(tmp_path) == {there: "[tool.snapseed]\n"}


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A file in the place of a folder is named."""
    (tmp_path / ".github").write_text("a file")
    shown = init(tmp_path)
    assert shown.returncode == 2
    assert ".github" in shown.stderr


def test_an_example_and_a_database_exclude_each_other(tmp_path: Path) -> None:
    """Exit code 2, and nothing is written."""
    for other in ("--from-database", "--capture"):
        assert init(tmp_path, "--example", "shop", other, "postgresql://127.0.0.1:1/x").returncode == 2
    assert files_in(tmp_path) == {}


@pytest.mark.parametrize("variable", ["SOURCE_URL", "STAGING_URL"])
def test_a_database_is_copied_by_two_commands(
    variable: str, connection: Connection, database: str, server: str, tmp_path: Path
) -> None:
    """Its password is in no file, whether a variable holds the URL or not; loading needs no URL at all."""
    connection.execute("CREATE TABLE t (id serial PRIMARY KEY, name text CHECK (name <> ''))")
    connection.execute("INSERT INTO t (name) SELECT 'row ' || n FROM generate_series(1, 9) n")
    url = make_conninfo(database, password="geheim")
    given = {variable: url} if variable != "SOURCE_URL" else {}
    shown = Sandbox(tmp_path, "").run("init", "copy", "--capture", url, check=True, **given)
    assert f'source = "${{{variable}}}"' in (tmp_path / "copy/snapseed.toml").read_text()
    assert ("SOURCE_URL" in shown.stdout) is (variable == "SOURCE_URL")
    assert "geheim" not in shown.stdout + shown.stderr
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"geheim" not in path.read_bytes()
    with new_database(server) as other:
        copy = Sandbox(tmp_path / "copy", other)
        copy.run("load", check=True)
        with copy.connect() as restored:
            assert contents(restored)["public.t"] == contents(connection)["public.t"]
            assert contents(restored)["public.t_id_seq"] == contents(connection)["public.t_id_seq"]


def test_a_copy_of_a_database_has_no_personal_values(connection: Connection, database: str, tmp_path: Path) -> None:
    """What looks personal gets a rule, and the rules a secret that is in no output and in a file of the owner's.

    What can only be kept is named.
    """
    kept = "phone text NOT NULL CHECK (phone = '+49')"
    connection.execute(f"CREATE TABLE people (id int PRIMARY KEY, email text UNIQUE, note text, {kept})".encode())
    connection.execute("INSERT INTO people VALUES (1, 'canary@x.org', 'canary', '+49')")
    shown = init(tmp_path, "copy", "--capture", database)
    assert shown.returncode == 0, shown.stderr
    folder = tmp_path / "copy"
    masks = find_project(folder).mask
    assert {name: rule.rule for name, rule in masks.items()} == {
        "people.email": "email",
        "people.note": "text",
        "people.phone": "keep",
    }
    assert any(line.endswith("as they are: people.phone") for line in shown.stdout.splitlines())
    assert not [path for path in folder.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
    secret = (folder / ".env").read_text().strip().partition("=")[2]
    assert len(secret) == 64
    assert secret not in shown.stdout + shown.stderr
    assert (folder / ".env").stat().st_mode & 0o77 == 0
    assert ".env" in (folder / ".gitignore").read_text().splitlines()


def test_a_database_that_cannot_be_captured_leaves_a_project(
    connection: Connection, database: str, tmp_path: Path
) -> None:
    """In which another try is possible, with the secret that is there."""
    connection.execute("CREATE TABLE people (email text); SELECT lo_create(0)")
    failed = init(tmp_path, "copy", "--capture", database)
    assert failed.returncode == 3
    assert "snapseed capture --from URL --env-file .env" in failed.stderr
    again = Sandbox(tmp_path / "copy", "").run(
        "capture", "--from", database, "--env-file", ".env", "--without-large-objects"
    )
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(("url", "code"), [("postgresql:///x?host=/nowhere", 4), ("postgresql://a b", 2)])
def test_a_database_that_does_not_answer_leaves_nothing(url: str, code: int, tmp_path: Path) -> None:
    """So the same command can run again: without a look at the tables, a project would lack the rules for masks."""
    assert init(tmp_path, "copy", "--capture", url).returncode == code
    assert not (tmp_path / "copy").exists()
