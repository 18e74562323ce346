"""Fixtures for pytest that hand out databases with the snapshot. Heavy imports wait until a test uses one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    import psycopg

    from snapseed.config import Environment, Project
    from snapseed.testing import SnapseedDatabase
    from snapseed.testing.clones import Clones

CreateTables = Callable[[str], object]

_FIXTURES = {"snapseed_database", "snapseed_database_shared"}
# The property of a test's report under which a kept database travels from a worker process to the terminal.
_PROPERTY = "snapseed_database"
# One is created while the test before runs, and the other covers a test that is faster than a copy.
_AHEAD = 2
_failed = pytest.StashKey[bool]()
_kept = pytest.StashKey[list[tuple[str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add each setting as an option and as a key of pytest's configuration file. The option wins."""
    group = parser.getgroup("snapseed", "databases that hold a snapshot")
    for name, metavar, text in (
        ("project", "DIR", "the folder of snapseed.toml (default: pytest's root folder or one above)"),
        ("environment", "ENV", "the environment, for server and snapshot (default: test, if the project has it)"),
        ("snapshot", "NAME", "this snapshot instead of the environment's"),
        ("scope", "session|module", "how long snapseed_database_shared lives (default: session)"),
        ("ahead", "N", f"how many databases each process creates ahead of its tests (default: {_AHEAD})"),
    ):
        group.addoption(f"--snapseed-{name}", metavar=metavar, default=None, help=text)
        parser.addini(f"snapseed_{name}", text, default="")
    keep = "keep the database of a failed test, and print its URL"
    group.addoption("--snapseed-keep-on-failure", action="store_true", default=None, help=keep)
    parser.addini("snapseed_keep_on_failure", keep, type="bool", default=False)
    files = "globs of the files that the fixture snapseed_schema depends on, relative to pytest's root folder"
    parser.addini("snapseed_schema_files", files, type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Check the settings early, so that a typo ends the run before the first test."""
    _shared_scope(_PROPERTY, config)
    _ahead(config)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which environment, snapshot and server are used; nothing where there is no project."""
    from snapseed.errors import SnapseedError  # noqa: PLC0415 - see the docstring of this module
    from snapseed.redaction import redacted  # noqa: PLC0415 - as above

    try:
        _, environment = _project(config)
    except SnapseedError:
        return None
    server = "embedded PostgreSQL" if environment.database == "embedded" else redacted(environment.database)
    return f"snapseed: environment {environment.name}, snapshot {environment.snapshot}, server {server}"


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Compare URLs of databases by their representations: pytest would show the texts, with their passwords."""
    from snapseed.redaction import SecretUrl  # noqa: PLC0415 - as above

    return [f"{left!r} {op} {right!r}"] if isinstance(left, SecretUrl) or isinstance(right, SecretUrl) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test failed, for the teardown of its fixtures, and report the databases that they keep."""
    report = yield
    for node in item.listchain():
        node.stash[_failed] = node.stash.get(_failed, False) or report.failed
    if report.when == "teardown":
        # Fixtures that live longer than a test are torn down after the last test that could use them.
        kept = item.session.stash.get(_kept, [])
        report.user_properties.extend((_PROPERTY, f"{name}\0{url}") for name, url in kept)
        kept.clear()
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the databases that were kept, with their URLs."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    found = [
        str(value)
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "teardown"
        for name, value in report.user_properties
        if name == _PROPERTY
    ]
    if found:
        terminalreporter.section("snapseed: databases of failed tests, kept for a week")
        for line in dict.fromkeys(found):
            test, _, url = line.partition("\0")
            terminalreporter.write_line(f"{test}\n    {url}")


def _shared_scope(fixture_name: str, config: pytest.Config) -> Literal["session", "module"]:  # noqa: ARG001 - pytest's
    scope = _setting(config, "scope") or "session"
    if scope not in {"session", "module"}:
        raise pytest.UsageError(f"snapseed_scope is {scope!r}; it must be session or module")
    return "module" if scope == "module" else "session"


@pytest.fixture(scope="session")
def snapseed_schema() -> CreateTables | None:
    """Override this to create the tables by migrations: return a function that gets the URL of an empty database.

    None, the default, means the project's `schema` file. Name the files that the function depends on in
    `snapseed_schema_files`: when one of them changes, the snapshot is loaded into a new template.
    """
    return None


@pytest.fixture(scope="session")
def _snapseed_clones(request: pytest.FixtureRequest, snapseed_schema: CreateTables | None) -> Iterator[Clones]:
    """The clones of a session, from the template of the snapshot and the application's tables."""
    with _as_failure():
        from snapseed.testing.clones import migrations, opened_clones  # noqa: PLC0415 - heavy

        config = request.config
        project, environment = _project(config)
        schema = None
        if snapseed_schema is not None:
            globs: list[str] = config.getini("snapseed_schema_files")
            files = [path for glob in globs for path in config.rootpath.glob(glob)]
            schema = migrations(snapseed_schema, files, config.rootpath)
        wanted = sum(not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ())) for item in request.session.items)
        with opened_clones(project, environment, schema, ahead=_ahead(config), at_most=wanted) as clones:
            yield clones


@pytest.fixture
def snapseed_database(request: pytest.FixtureRequest, _snapseed_clones: Clones) -> Iterator[SnapseedDatabase]:
    """A database with the snapshot for this test alone, gone afterwards even if somebody is connected to it."""
    yield from _handed_out(request, _snapseed_clones)


@pytest.fixture(scope=_shared_scope)
def snapseed_database_shared(request: pytest.FixtureRequest, _snapseed_clones: Clones) -> Iterator[SnapseedDatabase]:
    """A database that all tests of a session, or of a module (`snapseed_scope`), share. They should only read it."""
    yield from _handed_out(request, _snapseed_clones)


@pytest.fixture
def snapseed_url(snapseed_database: SnapseedDatabase) -> str:
    """The URL of the test's own database: a `str` whose `repr` hides the password."""
    return snapseed_database.url


@pytest.fixture
def snapseed_connection(snapseed_url: str, _snapseed_clones: Clones) -> Iterator[psycopg.Connection]:
    """A psycopg connection to the test's own database, closed afterwards. What it did not commit is lost."""
    import psycopg  # noqa: PLC0415 - heavy

    from snapseed.postgres.connect import hidden_variables  # noqa: PLC0415 - as above

    with hidden_variables(_snapseed_clones.server.target):
        connection = psycopg.connect(snapseed_url)
    with closing(connection):
        yield connection


def _handed_out(request: pytest.FixtureRequest, clones: Clones) -> Iterator[SnapseedDatabase]:
    """A clone for a test. It is kept if the test fails and the setting says so."""
    with _as_failure():
        database = clones.take()
        yield database
        if request.node.stash.get(_failed, False) and _setting(request.config, "keep_on_failure"):
            name = request.node.nodeid or "tests of the session"
            clones.keep(database, name)
            request.session.stash.setdefault(_kept, []).append((name, database.described))
        else:
            clones.give_back(database)


@contextmanager
def _as_failure() -> Iterator[None]:
    """Turn an error of snapseed into the failure of the test, without a traceback of snapseed's own code."""
    from snapseed.errors import SnapseedError  # noqa: PLC0415 - only fixtures need it

    try:
        yield
    except SnapseedError as exc:
        raise pytest.fail.Exception(f"snapseed: {exc}", pytrace=False) from None


def _project(config: pytest.Config) -> tuple[Project, Environment]:
    from snapseed.config import find_project  # noqa: PLC0415 - only fixtures and the header need it

    folder = _setting(config, "project")
    project = find_project(config.rootpath / folder if folder else config.rootpath)
    name = _setting(config, "environment") or ("test" if "test" in project.environments else None)
    return project, project.environment(name, {"snapshot": _setting(config, "snapshot")})


def _setting(config: pytest.Config, name: str) -> str | None:
    given = config.getoption(f"snapseed_{name}") or config.getini(f"snapseed_{name}")
    return str(given) if given else None


def _ahead(config: pytest.Config) -> int:
    text = _setting(config, "ahead") or str(_AHEAD)
    if not text.isdecimal():
        raise pytest.UsageError(f"snapseed_ahead is {text!r}; it must be a number of databases, 0 or more")
    return int(text)
