"""The commands as processes: what they print where, and their exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snapseed.cli.options import Call, Options
from snapseed.servers import EmbeddedPostgres
from tests.conftest import Sandbox

SECRET = "correct-horse"
MakeProject = Callable[[str], Sandbox]


def failure(sandbox: Sandbox, *arguments: str, code: int, **variables: str) -> str:
    """The stderr of a failing command, after checking that stdout is one document that says the same."""
    shown = sandbox.run(*arguments, "--format", "json", check=False, **variables)
    assert shown.returncode == code, shown.stdout + shown.stderr
    assert SECRET not in shown.stdout + shown.stderr
    document = json.loads(shown.stdout)
    assert (document["format"], document["exit_code"]) == (1, code)
    assert shown.stderr.splitlines()[0] == f"error: {document['error']['summary']}"
    return shown.stderr


def test_a_failure_leaves_stdout_empty(shop: Sandbox) -> None:
    """With text output, everything about a failure is on stderr."""
    shown = shop.run("load", "nowhere")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith("error: there is no environment")


def test_from_generate_to_verify(make_project: MakeProject) -> None:
    """generate, load, status, verify, diff and show: each exits with 0 and says on stdout what it did."""
    shop = make_project("shop")
    expected = {
        ("generate", "--quiet"): "snapshot dev: ",
        ("load", "dev", "--dry-run"): "dry run: nothing was changed",
        ("load", "dev"): "verified before the commit",
        ("status", "dev"): "the snapshot on disk",
        ("verify",): "verified: the files and the database",
        ("verify", "--offline"): "verified: the files",
        ("diff", "dev"): "customers: no difference",
        ("show", "dev"): "customers, row 1 of 250",
        ("show", "dev", "orders"): "orders: A few customers order a lot.",
        ("show", "dev", "orders", "--rows", "2"): "orders, row 2 of ",
        ("generate", "--check"): "same rows, same bytes",
    }
    for arguments, words in expected.items():
        shown = shop.run(*arguments, check=True)
        assert words in shown.stdout
        assert "error" not in shown.stderr


def test_json_is_one_document_on_stdout(shop: Sandbox) -> None:
    """For every command that shows a result, and the documents agree with each other."""
    loaded = shop.run_json("load", "dev")
    assert loaded["verified"] is True
    assert loaded["identity"] == shop.run_json("show", "dev")["identity"] == shop.run_json("verify")["identity"]
    assert shop.run_json("diff", "dev")["agrees"] is True
    assert f"'identity': '{loaded['identity']}'" in str(shop.run_json("status", "dev")["environments"])
    assert shop.run_json("db", "url")["url"] == shop.url


def test_findings_end_with_exit_code_1(shop: Sandbox) -> None:
    """What differs is named on stdout; with --format json the document holds the findings."""
    shop.run("load", "dev", check=True)
    with shop.connect() as connection:
        connection.execute("UPDATE notes SET number = 9 WHERE id = 3")
    for command in (("verify",), ("diff", "dev")):
        shown = shop.run(*command)
        assert shown.returncode == 1
        assert "notes" in shown.stdout
        assert shown.stderr == ""
        document = json.loads(shop.run(*command, "--format", "json").stdout)
        assert (document["format"], document["agrees"]) == (1, False)
    assert "number - '0'" in shop.run("diff", "dev").stdout
    (shop.folder / "snapshots" / "dev" / "stray").write_text("")
    assert "stray: not named by the manifest" in shop.run("verify", "--offline").stdout


def test_rows_that_somebody_else_loaded_end_with_exit_code_3(shop: Sandbox) -> None:
    """Unless --yes allows replacing them."""
    schema = shop.project.schema
    assert schema is not None
    with shop.connect() as connection:
        connection.execute(schema.read_bytes())
        connection.execute("INSERT INTO categories VALUES ('mine', 'precious', 1)")
    assert "public.categories" in failure(shop, "load", "dev", code=3)
    assert shop.run("load", "dev", "--yes").returncode == 0


def test_a_damaged_snapshot_ends_with_exit_code_2(shop: Sandbox) -> None:
    """A load that finds damaged files names them, and changes nothing."""
    (shop.folder / "snapshots" / "dev" / "shops.parquet").write_bytes(b"PAR1")
    text = failure(shop, "load", "dev", code=2)
    assert "shops.parquet" in text
    assert "nothing was changed" in text


def test_no_project_is_a_usage_error(shop: Sandbox, tmp_path: Path) -> None:
    """It says where it looked, and how to create one."""
    empty = tmp_path / "empty"
    empty.mkdir()
    text = failure(Sandbox(empty, shop.url), "load", "dev", code=2)
    assert "no snapseed project found" in text
    assert str(empty) in text
    assert "snapseed init" in text
    assert "does not exist" in failure(shop, "status", "--project", "nowhere", code=2)


def test_the_project_is_found_from_a_folder_inside_or_by_name(shop: Sandbox, tmp_path: Path) -> None:
    """In a parent folder, by --project, or by SNAPSEED_PROJECT."""
    assert Sandbox(shop.folder / "generators", shop.url).run("show", "dev").returncode == 0
    elsewhere = Sandbox(tmp_path, shop.url)
    assert elsewhere.run("show", "dev", "--project", str(shop.folder)).returncode == 0
    assert elsewhere.run("show", "dev", SNAPSEED_PROJECT=str(shop.folder)).returncode == 0


def test_an_unknown_environment_suggests_the_one_that_was_meant(shop: Sandbox) -> None:
    """And lists the existing ones."""
    text = failure(shop, "load", "dve", code=2)
    assert "there is no environment named 'dve'" in text
    assert "did you mean 'dev'?" in text


def test_an_unknown_entity_is_named_with_the_known_ones(shop: Sandbox) -> None:
    """For load and for generate."""
    for command in (("load", "dev", "--only", "ordres"), ("generate", "--only", "ordres")):
        text = failure(shop, *command, code=2)
        assert "ordres" in text
        assert "categories" in text


def test_only_takes_names_by_commas_and_by_repetition(shop: Sandbox) -> None:
    """Both mean the same."""
    for arguments in (["--only", "customers,categories"], ["--only", "customers", "--only", "categories"]):
        document = shop.run_json("load", "dev", "--dry-run", *arguments)
        assert {step["entity"] for step in document["plan"]} == {"customers", "categories"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("scale", ["0", "10kk", "-5", "²"])
def test_an_invalid_scale_is_a_usage_error(shop: Sandbox, scale: str) -> None:
    """With an example of a valid one."""
    shown = shop.run("generate", "--scale", scale)
    assert shown.returncode == 2
    assert "10k" in shown.stderr


def test_arguments_that_cannot_be_parsed_are_one_document_too(shop: Sandbox) -> None:
    """Unknown options and commands, empty arguments, wrong numbers: exit code 2, usage on stderr, JSON if asked."""
    assert shop.run("load", "").stdout == ""
    for arguments in (["load", ""], ["load", "dev", "--nonsense"], ["lod", "dev"], ["generate", "--seed", "x"]):
        programs = shop.run(*arguments, "--format", "json")
        document = json.loads(programs.stdout)
        assert (programs.returncode, document["format"], document["exit_code"]) == (2, 1, 2)
        assert document["error"]["summary"] in programs.stderr
        assert "Usage: " in programs.stderr


NEXT_STEPS = [
    ("run `snapseed load dev --recreate`", "run `snapseed load dev --only a,b --database far --snapshot s --recreate`"),
    ("snapseed generate dev --snapshot x", "snapseed generate dev --only a,b --snapshot s"),
    ("snapseed diff dev-2, snapseed load", "snapseed diff dev-2, snapseed load"),
]


@pytest.mark.parametrize(("step", "expected"), NEXT_STEPS)
def test_a_next_step_repeats_the_options_that_say_where(shop: Sandbox, step: str, expected: str) -> None:
    """As far as its command has them, and only for an environment of the project."""
    call = Call(shop.project, "text", Options(database="far", snapshot="s"))
    assert call.located(step, ["a", "b"]) == expected


def test_a_snapshots_folder_that_cannot_be_written_is_named(shop: Sandbox) -> None:
    """A file is in the place of the folder, so that even root cannot write there."""
    shutil.rmtree(shop.folder / "snapshots")
    (shop.folder / "snapshots").write_text("in the way")
    text = failure(shop, "generate", code=2)
    assert "cannot be written" in text
    assert str(shop.folder / "snapshots") in text


def test_a_url_that_does_not_parse_is_exit_code_2(shop: Sandbox) -> None:
    """As an option and as a variable; the password is not shown."""
    url = f"postgresql://me:{SECRET}@[half"
    assert "(--database)" not in failure(shop, "load", "dev", "--database", url, code=2)
    assert "SNAPSEED_DATABASE" in failure(shop, "verify", code=2, SNAPSEED_DATABASE=url)


def test_a_server_that_does_not_answer_is_exit_code_4(shop: Sandbox) -> None:
    """With the address and without the password, also in the traceback of --verbose."""
    url = f"postgresql://me:{SECRET}@127.0.0.1:1/db"
    for command in (("load", "dev"), ("verify",), ("diff", "dev")):
        text = failure(shop, *command, "--database", url, code=4)
        assert "postgresql://me:***@127.0.0.1:1/db" in text
        assert ("nothing was changed" in text) == ("load" in command)
    verbose = [sys.executable, "-m", "snapseed", "load", "dev", "--verbose", "--database", url]
    shown = subprocess.run(verbose, cwd=shop.folder, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" in shown.stderr
    assert SECRET not in shown.stderr


def test_only_terminals_get_colors_and_never_with_no_color(shop: Sandbox) -> None:
    """Neither a pipe nor NO_COLOR gets an escape sequence."""
    for variables in ({}, {"NO_COLOR": "1"}, {"CI": "true"}):
        shown = shop.run("load", "nowhere", check=False, **variables)
        assert "\x1b" not in shown.stderr + shown.stdout
        assert "\x1b" not in shop.run("--help", check=False, **variables).stdout


def test_quiet_shows_only_the_result(shop: Sandbox) -> None:
    """Nothing on stderr."""
    for command in (("generate",), ("load", "dev")):
        shown = shop.run(*command, "--quiet", check=True)
        assert shown.stderr == ""
        assert shown.stdout


def test_a_reader_that_leaves_is_not_reported_as_a_failure(shop: Sandbox) -> None:
    """`snapseed show | head -1` ends without a traceback."""
    line = f"{sys.executable} -m snapseed show dev --rows 500 --format json | head -1"
    shown = subprocess.run(line, shell=True, cwd=shop.folder, capture_output=True, text=True, timeout=60, check=False)  # noqa: S602 - a pipe is what is tested
    assert shown.stdout == "{\n"
    assert shown.stderr == ""
    line = f"({sys.executable} -m snapseed show nowhere --format json; echo $? >&2) | true"
    shown = subprocess.run(line, shell=True, cwd=shop.folder, capture_output=True, text=True, timeout=60, check=False)  # noqa: S602 - as above
    assert shown.stderr.splitlines()[-1] == "2"
    assert "Traceback" not in shown.stderr


@pytest.fixture
def own_server(shop: Sandbox) -> Iterator[Sandbox]:
    """The shop on its own embedded server, stopped at the end."""
    yield Sandbox(shop.folder, "")
    EmbeddedPostgres(shop.folder).stop()


def test_the_embedded_server_is_managed_by_commands(own_server: Sandbox) -> None:
    """status, start, url, psql, load and stop do what they say, in any state; stop keeps the data."""
    run = own_server.run
    assert "embedded server not running" in run("status", check=True).stdout
    assert "run `snapseed load`" in run("verify").stderr
    assert not (own_server.folder / ".snapseed").exists()
    started = run("db", "start", check=True).stdout
    assert started.startswith("postgres: postgresql://")
    url = run("db", "url", check=True).stdout.strip()
    assert url in started
    selected = run("db", "psql", "dev", "-A", "-t", "-c", "SELECT current_database()", check=True)
    assert selected.stdout.strip() == "snapseed_dev"
    assert run("db", "psql", "-At", "-c", "SELECT current_database()", check=True).stdout == selected.stdout
    assert run("db", "psql", "-v", "VERBOSITY=terse", "-At", "-c", "SELECT 1", check=True).stderr == ""
    other = run("db", "psql", "dev", "-Atd", "postgres", "-c", "SELECT current_database()", check=True)
    assert other.stdout.strip() == "postgres"
    assert run("db", "psql", "dev", "-c", "SELECT nonsense").returncode == 1
    assert [run("db", "psql", *given, "select 1").returncode for given in ((), ("dev",))] == [2, 2]
    assert "nonsense" in run("db", "logs", "dev", check=True).stdout
    assert "nothing loaded" in run("status", check=True).stdout
    for command in ("load", "verify", "reset"):
        assert len(run(command, "dev", "--quiet", check=True).stdout.splitlines()) == 1
    assert "the snapshot on disk" in run("status", check=True).stdout
    assert "snapseed_dev" in run("db", "drop", "dev", check=True).stdout
    assert run("verify").returncode == 2
    run("load", "dev", check=True)
    assert run("db", "stop", check=True).stdout == "postgres: stopped\n", "the project has no queue"
    assert "postgres: was not running" in run("db", "stop", check=True).stdout
    assert "embedded server not running" in run("status", check=True).stdout
    assert run("verify").returncode == 0


def test_it_runs_as_a_module_from_anywhere(tmp_path: Path) -> None:
    """`python -m snapseed`, with the program's name in the usage line."""
    command = [sys.executable, "-m", "snapseed", "load", "--nonsense"]
    shown = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert shown.returncode == 2
    assert "snapseed load" in shown.stderr
