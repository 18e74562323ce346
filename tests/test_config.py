"""snapseed.toml becomes one frozen project, or an error that names file, table and key."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed import Project, find_project
from snapseed.config import Store
from snapseed.config.settings import ProjectTable, interpolate, unknown_variables
from snapseed.errors import ConfigurationError, SnapseedError, UsageError
from snapseed.units import parse_scale, parse_seconds, parse_size

MINIMAL = "[environments.dev]\n"


def project_of(folder: Path, text: str, file: str = "snapseed.toml") -> Project:
    """The project of a file with this text."""
    (folder / file).write_text(text, encoding="utf-8")
    return find_project(folder)


def test_a_minimal_file_has_defaults_for_everything_else(tmp_path: Path) -> None:
    """One environment is enough."""
    project = project_of(tmp_path, MINIMAL)
    assert (project.seed, project.part_rows, project.now) == (42, 2500, datetime(2026, 1, 1, tzinfo=UTC))
    assert (project.generators, project.snapshots) == (tmp_path / "generators", Store(tmp_path / "snapshots"))
    environment = project.environment()
    assert (environment.name, environment.snapshot, environment.database) == ("dev", "dev", "embedded")
    assert environment.scale is None
    assert pickle.loads(pickle.dumps(project)) == project  # noqa: S301 - our own bytes


def test_the_project_is_found_from_a_folder_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the working folder upwards, or in the folder that SNAPSEED_PROJECT names."""
    project = project_of(tmp_path, MINIMAL)
    (tmp_path / "a/b").mkdir(parents=True)
    assert find_project(tmp_path / "a/b") == project
    monkeypatch.chdir(tmp_path / "a")
    assert find_project() == project
    monkeypatch.chdir("/")
    monkeypatch.setenv("SNAPSEED_PROJECT", str(tmp_path))
    assert find_project() == project


def test_pyproject_serves_as_well(tmp_path: Path) -> None:
    """[tool.snapseed]; a pyproject.toml without that table is not a project, and snapseed.toml comes first."""
    (tmp_path / "below").mkdir()
    (tmp_path / "below/pyproject.toml").write_text("[tool.other]\n")
    text = "[tool.snapseed]\nseed = 7\n[tool.snapseed.environments.dev]\nscale = '1k'\n"
    project = project_of(tmp_path, text, "pyproject.toml")
    assert find_project(tmp_path / "below") == project
    assert (project.seed, project.environment().scale) == (7, 1000)
    assert project_of(tmp_path, MINIMAL).seed == 42


def test_no_project_says_how_to_make_one(tmp_path: Path) -> None:
    """A folder that does not exist is another error."""
    with pytest.raises(UsageError, match="no snapseed project found") as caught:
        find_project(tmp_path)
    assert "snapseed init" in (caught.value.next_step or "")
    with pytest.raises(UsageError, match="does not exist"):
        find_project(tmp_path / "nowhere")


BAD = {
    "no TOML": ("[snapseed\n", "cannot be read", ""),
    "an unknown table": ("[snapsed]\n" + MINIMAL, "unknown key 'snapsed'", "did you mean 'snapseed'?"),
    "an unknown key": ("[snapseed]\nsede = 1\n" + MINIMAL, "unknown key 'sede'", "did you mean 'seed'?"),
    "a key like no other": ("[snapseed]\nzzz = 1\n" + MINIMAL, "unknown key 'zzz'", "one of: generators, snapshots"),
    "an unknown key of an environment": (MINIMAL + "skale = 1\n", "unknown key 'skale'", "[environments.dev]"),
    "a wrong type": ("[snapseed]\nseed = 'x'\n" + MINIMAL, "not valid", "[snapseed] seed"),
    "a list for a scale": (MINIMAL + "scale = [2]\n", "not valid", "[environments.dev] scale"),
    "a text for a boolean": (MINIMAL + "create_schema = 'yes'\n", "not valid", "[environments.dev] create_schema"),
    "a text for a list": (MINIMAL + "allow_hosts = 'a'\n", "not valid", "[environments.dev] allow_hosts"),
    "a number in a list": (MINIMAL + "allow_hosts = [1]\n", "not valid", "allow_hosts"),
    "a value for a table": ("snapseed = 3\n" + MINIMAL, "not a table", "[snapseed]"),
    "a value for an environment": ("[environments]\ndev = 3\n", "not a table", "[environments.dev]"),
    "a value for the environments": ("environments = 3\n", "no environment is defined", "[environments.dev]"),
    "no environment": ("[snapseed]\n", "no environment is defined", "[environments.dev]"),
    "an environment's name": ("[environments.'A B']\n", "not a valid name", "'A B'"),
    "a default that is none": (
        "[snapseed]\ndefault_environment = 'prod'\n" + MINIMAL,
        "the default environment does not exist",
        "one of: dev",
    ),
    "no dev": ("[environments.ci]\n", "the default environment does not exist", "default_environment = 'ci'"),
    "a naive now": ("[snapseed]\nnow = 2026-01-01T00:00:00\n" + MINIMAL, "not valid", "[snapseed] now"),
    "a date for now": ("[snapseed]\nnow = 2026-01-01\n" + MINIMAL, "not valid", "[snapseed] now"),
    "a negative seed": ("[snapseed]\nseed = -1\n" + MINIMAL, "not valid", "[snapseed] seed"),
    "an unknown time": (MINIMAL + "timeout = 5\n", "not valid", "[environments.dev] timeout"),
    "parts of nothing": ("[snapseed]\npart_rows = 0\n" + MINIMAL, "not valid", "[snapseed] part_rows"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_an_error_that_names_the_place(case: str, tmp_path: Path) -> None:
    """File, table and key, and what was probably meant."""
    text, summary, words = BAD[case]
    with pytest.raises(ConfigurationError) as caught:
        project_of(tmp_path, text)
    assert summary in caught.value.summary
    assert words in str(caught.value)
    assert str(tmp_path / "snapseed.toml") in (caught.value.where or "")


@pytest.mark.parametrize("text", ["[tool]\nsnapseed = 3\n", "[tool.snapseed]\nsede = 1\n", "[tool.snapseed]\n"])
def test_a_bad_pyproject_is_an_error_that_names_it(text: str, tmp_path: Path) -> None:
    """The same checks as for snapseed.toml."""
    with pytest.raises(ConfigurationError) as caught:
        project_of(tmp_path, text, "pyproject.toml")
    assert str(tmp_path / "pyproject.toml") in (caught.value.where or "")


def test_text_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    """Not a traceback."""
    (tmp_path / "snapseed.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        find_project(tmp_path)


def test_an_unknown_environment_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    """It lists the environments that exist."""
    with pytest.raises(UsageError, match="no environment named 'dve'") as caught:
        project_of(tmp_path, MINIMAL + "[environments.ci]\n").environment("dve")
    assert (caught.value.expected, caught.value.next_step) == ("one of: dev, ci", "did you mean 'dev'?")


def test_a_flag_comes_before_a_variable_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment knows which one won."""
    project = project_of(tmp_path, MINIMAL + "database = 'postgresql://file/x'\nscale = 5\n")
    environment = project.environment()
    assert (environment.database, environment.scale) == ("postgresql://file/x", 5)
    assert environment.sources["database"] == "snapseed.toml [environments.dev] database"
    monkeypatch.setenv("SNAPSEED_DATABASE", "postgresql://variable/x")
    monkeypatch.setenv("SNAPSEED_SCALE", "2k")
    environment = project.environment()
    assert (environment.database, environment.scale) == ("postgresql://variable/x", 2000)
    assert environment.sources["database"] == "SNAPSEED_DATABASE"
    environment = project.environment(overrides={"database": "postgresql://flag/x", "scale": None})
    assert (environment.database, environment.scale) == ("postgresql://flag/x", 2000)
    assert environment.sources["database"] == "--database"


def test_variables_have_the_types_of_their_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are separated by commas, booleans are words; an empty variable counts as not set."""
    project = project_of(tmp_path, MINIMAL + "allow_hosts = ['a']\n")
    monkeypatch.setenv("SNAPSEED_ALLOW_HOSTS", "b, c,")
    monkeypatch.setenv("SNAPSEED_CREATE_SCHEMA", "True")
    monkeypatch.setenv("SNAPSEED_MAX_SIZE", "1.5 MB")
    monkeypatch.setenv("SNAPSEED_SNAPSHOT", "")
    environment = project.environment()
    assert environment.allow_hosts == ("b", "c")
    assert environment.create_schema
    assert environment.max_size == 1_500_000
    assert environment.snapshot == "dev"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SNAPSEED_CREATE_SCHEMA", "yes"),
        ("SNAPSEED_SCALE", "many"),
        ("SNAPSEED_MAX_SIZE", "5IB"),
        ("SNAPSEED_SNAPSHOT", "../x"),
        ("SNAPSEED_TIMEOUT", "soon"),
        ("SNAPSEED_RETRIES", "some"),
        ("SNAPSEED_RETRIES", "-1"),
        ("SNAPSEED_WORKERS", "-1"),
    ],
)
def test_a_bad_variable_is_an_error(name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error shows its value."""
    project = project_of(tmp_path, MINIMAL)
    monkeypatch.setenv(name, value)
    with pytest.raises(SnapseedError) as caught:
        project.environment()
    assert repr(value) in str(caught.value)


VARIABLES: dict[str, tuple[str, Callable[[Project], object], object]] = {
    "generators": ("made", lambda project: project.generators.name, "made"),
    "snapshots": ("kept", lambda project: project.snapshots.folder.name, "kept"),
    "schema": ("null", lambda project: project.schema and project.schema.name, "null"),
    "seed": (str(2**64 - 1), lambda project: project.seed, 2**64 - 1),
    "now": ("2027-01-01T01:00:00+01:00", lambda project: project.now, datetime(2027, 1, 1, tzinfo=UTC)),
    "part_rows": ("7", lambda project: project.part_rows, 7),
    "cluster": ("local", lambda project: project.cluster, "local"),
    "default_environment": ("ci", lambda project: project.environment().name, "ci"),
}


@pytest.mark.parametrize("key", ProjectTable.__struct_fields__)
def test_any_key_of_the_project_can_be_a_variable(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the type of the key; a text is not converted."""
    text, value_of, value = VARIABLES[key]
    monkeypatch.setenv(f"SNAPSEED_{key.upper()}", text)
    assert value_of(project_of(tmp_path, MINIMAL + "[environments.ci]\n")) == value


@pytest.mark.parametrize("bad", ["x", "²", "1.5", "true", "-1", str(2**64)])
def test_a_number_as_a_variable_is_whole(bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In decimal digits, and in its range."""
    monkeypatch.setenv("SNAPSEED_SEED", bad)
    with pytest.raises(ConfigurationError) as caught:
        project_of(tmp_path, MINIMAL)
    assert bad in (caught.value.observed or "")


@pytest.mark.parametrize(
    ("text", "observed", "expected"),
    [
        ('[embeddings]\nqueue = "kafka"\n', "kafka", "stream or list"),
        ('[[capture.references]]\nfrom = "a.b"\n', "from", None),
        ("[environments.x]\nretries = -1\n", "-1", "`int` >= 0"),
    ],
)
def test_what_was_found_is_never_what_was_expected(
    text: str, observed: str, expected: str | None, tmp_path: Path
) -> None:
    """For words, keys and numbers."""
    with pytest.raises(ConfigurationError) as caught:
        project_of(tmp_path, MINIMAL + text)
    assert observed in (caught.value.observed or "")
    assert caught.value.expected == expected


def test_a_file_of_variables_is_read_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the argument or SNAPSEED_ENV_FILE, never by default. It does not override variables that are set."""
    project_of(tmp_path, MINIMAL + 'database = "postgresql://${HOST_:-here}/${NAME_:-none}"\n')
    file = tmp_path / ".env"
    file.write_text("# where\nexport HOST_=there\nNAME_='a shop'\nONLY_A_NAME\n")
    # So that both are gone after the test, whatever sets them.
    for name in ("HOST_", "NAME_"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    assert find_project(tmp_path).environment().database == "postgresql://here/none"
    assert find_project(tmp_path, file).environment().database == "postgresql://there/a shop"
    monkeypatch.setenv("HOST_", "set")
    monkeypatch.delenv("NAME_")
    monkeypatch.setenv("SNAPSEED_ENV_FILE", str(file))
    assert find_project(tmp_path).environment().database == "postgresql://set/a shop"


def test_a_file_of_variables_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """It names file and line, and does not show what may be a password."""
    file = tmp_path / ".env"
    with pytest.raises(UsageError, match="cannot be read"):
        find_project(tmp_path, file)
    file.write_text("A=1\nPASSWORD='hidden\n")
    with pytest.raises(ConfigurationError, match=r"\.env file") as caught:
        find_project(tmp_path, file)
    assert caught.value.where == f"{file}, line 2"
    assert "hidden" not in str(caught.value)


def test_values_are_filled_from_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the default if there is one; otherwise the error names variable and key."""
    project = project_of(tmp_path, MINIMAL + 'database = "postgresql://${HOST_:-here}/${NAME_}"\n')
    with pytest.raises(ConfigurationError, match="NAME_ is not set") as caught:
        _ = project.environment().database
    assert (caught.value.where or "").endswith("snapseed.toml [environments.dev] database")
    assert caught.value.next_step == "set NAME_, or write ${NAME_:-default}"
    monkeypatch.setenv("NAME_", "shop")
    assert project.environment().database == "postgresql://here/shop"
    assert project.environment().sources["database"].endswith("database, from $NAME_")
    monkeypatch.setenv("HOST_", "there")
    assert project.environment().database == "postgresql://there/shop"
    monkeypatch.setenv("HOST_", "")
    assert project.environment().database == "postgresql://here/shop"


@pytest.mark.parametrize(
    "key", ["database", "redis", "snapshot", "scale", "max_size", "timeout", "embeddings_timeout", "lock_timeout"]
)
def test_a_variable_is_needed_only_where_its_setting_is_used(key: str, tmp_path: Path) -> None:
    """The environment is there without it, also in another process; an override needs no variable."""
    project = project_of(tmp_path, MINIMAL + f'{key} = "${{URL_}}"\nworkers = 5\n')
    environment = pickle.loads(pickle.dumps(project.environment()))  # noqa: S301 - ours
    assert environment.changed(retries=3).workers == 5
    with pytest.raises(ConfigurationError, match="URL_ is not set"):
        getattr(environment, key)
    with pytest.raises(AttributeError):
        _ = environment.databse
    overridden = project.environment(
        overrides={key: "12B" if key == "max_size" else "12min" if "timeout" in key else "12"}
    )
    assert getattr(overridden, key)


def test_a_variable_that_looks_like_a_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the one that was probably meant. Those of settings, and those that the file uses, are fine."""
    project = project_of(tmp_path, MINIMAL + 'database = "${SNAPSEED_URL}"\n')
    for name in ("DATABASE", "SEED", "PROJECT", "ENV_FILE", "TEST_DATABASE", "URL"):
        monkeypatch.setenv(f"SNAPSEED_{name}", "1")
    assert unknown_variables(project.file) == []
    monkeypatch.setenv("SNAPSEED_DATABSE", "1")
    (warning,) = unknown_variables(project.file)
    assert "SNAPSEED_DATABSE" in warning
    assert "'SNAPSEED_DATABASE'" in warning


MARKED = "\ufeff" + MINIMAL.replace("\n", "\r\n")


@pytest.mark.parametrize("text", [MARKED, MARKED.removeprefix("\ufeff")], ids=["with a mark", "without"])
def test_a_file_from_windows_is_read(text: str, tmp_path: Path) -> None:
    """A byte order mark and CRLF change nothing, in snapseed.toml and in a .env file."""
    (tmp_path / "snapseed.toml").write_bytes((text + "[environments.ci]\r\nscale = 5\r\n").encode())
    variables = tmp_path / ".env"
    variables.write_bytes("\ufeffSNAPSEED_SCALE_=1\r\n".encode())
    assert find_project(tmp_path, variables).environment("ci").scale == 5
    assert os.environ.pop("SNAPSEED_SCALE_") == "1"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "latin-1"])
def test_a_file_in_another_encoding_is_an_error(encoding: str, tmp_path: Path) -> None:
    """UTF-16 is named, because PowerShell writes it."""
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    for name in ("snapseed.toml", ".env"):
        (tmp_path / name).write_bytes(f"{mark}# é\n{MINIMAL if name != '.env' else ''}".encode(encoding))
        with pytest.raises(SnapseedError) as caught:
            find_project(tmp_path, tmp_path / name if name == ".env" else None)
        assert ("UTF-16" in (caught.value.observed or "")) == encoding.startswith("utf-16")
        (tmp_path / name).write_text(MINIMAL if name != ".env" else "")


def test_a_setting_that_is_no_size_or_scale_says_where_it_stands(tmp_path: Path) -> None:
    """File, table and key, or the variable."""
    for line in ("scale = '10q'", "max_size = '5 apples'", "timeout = 'soon'"):
        with pytest.raises(SnapseedError) as caught:
            project_of(tmp_path, MINIMAL + line).environment()
        assert caught.value.where == f"snapseed.toml [environments.dev] {line.split()[0]}"


def test_interpolation_leaves_other_text_alone() -> None:
    """A default may be empty; a dollar sign that does not start a variable is text."""
    assert interpolate("a${X_:-}b $X_ ${} $$ {X_}", where="here") == ("ab $X_ ${} $$ {X_}", [])


SCALES = {"500": 500, "10k": 10_000, "2.5m": 2_500_000, "1b": 10**9, "1": 1, " 3K ": 3000, "0.5k": 500, "1.250k": 1250}


@pytest.mark.parametrize("text", SCALES)
def test_a_scale_is_a_number_of_rows(text: str) -> None:
    """With a suffix, a fraction, in either case."""
    assert parse_scale(text) == SCALES[text]


@pytest.mark.parametrize("text", ["300000b", "999999b", 2**48])
def test_a_scale_beyond_what_keys_can_count_is_too_large(text: str | float) -> None:
    """The message has the largest one."""
    with pytest.raises(UsageError, match="too large") as caught:
        parse_scale(text)
    assert f"{2**48 - 1:,}" in (caught.value.expected or "")


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "10kk",
        "-5",
        "",
        "1.5",
        "0.0001k",
        "k",
        "1.",
        ".5k",
        "1e3",
        "1_000",
        "0k",
        "10 k",
        0,
        -1,
        2.5,
        1e30,
    ],
    ids=repr,
)
def test_anything_else_is_no_scale(text: str | float) -> None:
    """The message shows examples."""
    with pytest.raises(UsageError, match="the scale is not a number of rows") as caught:
        parse_scale(text)
    assert caught.value.observed == repr(text)
    assert "2.5m" in (caught.value.expected or "")


@given(st.integers(1, 2**48 - 1))
def test_a_scale_in_digits_is_itself(rows: int) -> None:
    """As text and as a number."""
    assert parse_scale(rows) == parse_scale(str(rows)) == rows


SIZES = {
    "0B": 0,
    "10MB": 10**7,
    "512KiB": 2**19,
    "1.5GB": 1_500_000_000,
    "2 gib": 2**31,
    "0.3KB": 300,
    "1.001KB": 1001,
}


@pytest.mark.parametrize("text", SIZES)
def test_a_size_is_a_number_of_bytes(text: str) -> None:
    """Decimal and binary units; exact."""
    assert parse_size(text) == SIZES[text]


@pytest.mark.parametrize("text", ["", "10", "MB", "-1MB", "1TB", "5IB", "1e3KB", "1.MB", "10M"])
def test_anything_else_is_no_size(text: str) -> None:
    """The message shows examples."""
    with pytest.raises(ConfigurationError, match="not a size"):
        parse_size(text)


TIMES = {"90": 90, "1.5s": 1.5, "500ms": 0.5, "2min": 120, "1 h": 3600, "0": 0}


@pytest.mark.parametrize("text", TIMES)
def test_a_time_is_a_number_of_seconds(text: str) -> None:
    """In units that PostgreSQL knows too."""
    assert parse_seconds(text) == TIMES[text]


@pytest.mark.parametrize("text", ["", "soon", "-1", "1m", "s", "1,5s"])
def test_anything_else_is_no_time(text: str) -> None:
    """The message shows examples."""
    with pytest.raises(ConfigurationError, match="not a time") as caught:
        parse_seconds(text)
    assert "2min" in (caught.value.expected or "")
