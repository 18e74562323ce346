"""The documentation is true: its code runs, its links lead somewhere, its tables match the code."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import get_type_hints

import msgspec
import psycopg
import pytest
from typer.testing import CliRunner

import snapseed
from snapseed import generate_snapshot, open_snapshot, resolve_request
from snapseed.ci.report import Slowdown
from snapseed.cli.app import app
from snapseed.config import find_project
from snapseed.config.settings import (
    CaptureTable,
    ChildrenTable,
    EmbeddingsTable,
    EnvironmentTable,
    ProjectTable,
    ReferenceTable,
)
from snapseed.postgres.connect import PINNED
from snapseed.servers import EmbeddedPostgres, EmbeddedRedis
from snapseed.snapshot.manifest import Chunk, Column, EntityRecord, FileList, Manifest, PartFile
from tests.conftest import Sandbox, WithData
from tests.docs.pages import DOCS, PAGES, ROOT, Block, Command, anchors_of, blocks_of, commands_of, links_of, table_rows
from tests.stores.endpoint import KEYS

MakeProject = Callable[[str], Sandbox]

# Kinds of blocks that are only shown, and kinds that are checked. Any other word is a typo.
SHOWN = {"text", "mermaid", "json", "yaml", "diff"}
CHECKED = {"python", "toml", "sql", "console", "sh", "csv"}
# Programs that a page may mention and that the test does not run.
NOT_RUN = {"make", "pip", "git", "dask", "helm", "kubectl", "pg_dump", "sbatch"}


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


class Reader:
    """Follows a page from top to bottom, in a project of its own."""

    def __init__(self, page: Path, make_project: MakeProject, with_data: WithData) -> None:
        self.page = page
        self.blocks = list(blocks_of(page))
        self.make_project = make_project
        self.names: dict[str, object] = {"__name__": "__main__"}
        if any(block.file == "snapseed.toml" for block in self.blocks):
            self.sandbox = make_project("shop")
            for entry in ("generators", "snapseed.toml"):
                subprocess.run(["rm", "-r", entry], cwd=self.sandbox.folder, check=True)  # noqa: S607 - on every Unix
        else:
            self.sandbox = make_project("example")
        self.folder = self.sandbox.folder
        if any("snapseed load" in block.text for block in self.blocks):
            with_data(self.folder)
        self.started = [self.folder]

    def use_bucket(self, url: str) -> None:
        """Read this URL where the page names the bucket of a team."""
        self.blocks = [
            dataclasses.replace(block, text=block.text.replace("s3://team-data/snapshots", url))
            for block in self.blocks
        ]

    def read(self, block: Block) -> None:
        """Do what one block says."""
        if block.file is not None:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language in {"console", "sh"}:
            for command in commands_of(block):
                self.run(block, command)
        elif block.language == "python":
            self.execute(block)
        elif block.language == "sql":
            with psycopg.connect(EmbeddedPostgres(self.folder).url("snapseed_dev"), autocommit=True) as connection:
                connection.execute(block.text.encode())
        elif block.language == "toml":
            _check_settings(block, self.folder / "settings")
        else:
            assert block.language in SHOWN, f"{block}: a {block.language} block says which file it is"

    def run(self, block: Block, command: Command) -> None:
        """Run a line of a shell block and compare its output with what the page shows; `…` matches anything."""
        for part in command.line.split(" && "):
            words = [word.replace("$DATABASE_URL", self.sandbox.url) for word in shlex.split(part)]
            if words[0] == "cd":
                self.folder = self.folder / words[1]
                self.started.append(self.folder)
                os.chdir(self.folder)  # the fixture goes back
                continue
            assert words[0] in {"snapseed", "pytest", *NOT_RUN}, f"{block}: {part} neither runs here nor is known"
            if words[0] in NOT_RUN:
                continue
            exit_code, said = self.pytest(*words[1:]) if words[0] == "pytest" else self.snapseed(*words[1:])
            assert exit_code == command.exit_code, f"{block}: {part} ended with {exit_code}\n{said}"
            for expected in command.output:
                pattern = ".*".join(re.escape(_squeezed(text)) for text in expected.split("…"))
                found = any(re.fullmatch(pattern, _squeezed(line)) for line in said.splitlines())
                assert found, f"{block}: {part} does not print {expected!r}, but\n{said}"

    def pytest(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of the tests that the page has written."""
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def snapseed(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a command, in this process, which has everything imported already."""
        if "psql" in arguments:  # it replaces the process
            done = Sandbox(self.folder, self.sandbox.url).run(*arguments, SNAPSEED_DATABASE="")
            return done.returncode, done.stdout + done.stderr
        result = CliRunner().invoke(app, arguments)
        return result.exit_code, result.output

    def execute(self, block: Block) -> None:
        """Run Python: a generator in a project with nothing else, any other code in the project's folder."""
        if "@entity" in block.text:
            folder = self.folder / f"line-{block.line}"
            (folder / "generators").mkdir(parents=True)
            (folder / "generators" / "made.py").write_text(block.text, encoding="utf-8")
            (folder / "snapseed.toml").write_text("[environments.dev]\nscale = 50\n", encoding="utf-8")
            project = find_project(folder)
            generate_snapshot(project, resolve_request(project, project.environment(), scale=None, seed=None))
            return
        text = block.text.replace("postgresql://me@server/app", self.sandbox.url)
        code = compile(text, str(block), "exec")
        exec(code, self.names)  # noqa: S102 - it is our own page


@pytest.fixture
def readers(
    make_project: MakeProject, with_data: WithData, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Path], Reader]]:
    """Makes readers of pages, and stops the embedded servers that they started."""
    made: list[Reader] = []

    def make(page: Path) -> Reader:
        made.append(Reader(page, make_project, with_data))
        monkeypatch.chdir(made[-1].folder)
        return made[-1]

    yield make
    for reader in made:
        for folder in reader.started:
            EmbeddedPostgres(folder).stop()
            EmbeddedRedis(folder).stop()


@pytest.fixture
def bucket(page: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The URL of a bucket for a page that needs one."""
    if "s3://team-data" not in page.read_text(encoding="utf-8"):
        return None
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return f"s3://tests/{page.stem}/snapshots?endpoint=http://127.0.0.1:{request.getfixturevalue('endpoint')}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_everything_that_a_page_shows_works_in_its_order(
    page: Path, readers: Callable[[Path], Reader], bucket: str | None
) -> None:
    """Every command and every piece of code does what the page says."""
    reader = readers(page)
    if bucket:
        reader.use_bucket(bucket)
    for block in reader.blocks:
        assert block.file or block.language in SHOWN | CHECKED, f"{block}: unknown kind of block {block.language!r}"
        reader.read(block)


def test_the_fingerprint_of_the_manual_is_that_of_the_manifest(make_project: MakeProject) -> None:
    """The SQL in docs/verify.md, run in a loaded database, gives the fingerprint in the manifest."""
    sandbox = make_project("example")
    sandbox.run("generate", "--scale", "50", check=True)
    sandbox.run("load", "dev", check=True)
    queries = [
        block for block in blocks_of(DOCS / "verify.md") if block.language == "sql" and "hash_record" in block.text
    ]
    with sandbox.connect() as connection:
        [found] = connection.execute(queries[0].text.encode()).fetchall()
    entity = open_snapshot(sandbox.project.snapshots, "dev").manifest.entity("shares")
    assert entity is not None
    assert found == (entity.rows, entity.fingerprint)


def test_the_embedder_of_the_manual_works_on_the_example(make_project: MakeProject) -> None:
    """Saved where the page says, workers use it for every text, and search finds what they wrote."""
    sandbox = make_project("example")
    (embedder,) = (block for block in blocks_of(DOCS / "embeddings.md") if block.file == "pairs.py")
    (sandbox.folder / "pairs.py").write_text(embedder.text)
    settings = sandbox.folder / "snapseed.toml"
    settings.write_text(settings.read_text().replace("[embeddings]\n", '[embeddings]\nembedder = "pairs:Pairs"\n'))
    sandbox.run("generate", "ci", "--scale", "5", check=True)
    try:
        sandbox.run("load", "queue", check=True)
        assert ", 0 of them dead" in sandbox.run("worker", "queue", "--drain", check=True).stdout
        shown = sandbox.run("search", "queue", "how to bake bread", check=True)
        assert "chunk" in shown.stdout
        assert "built-in" not in shown.stderr
    finally:
        EmbeddedRedis(sandbox.folder).stop()
    with sandbox.connect() as connection:
        assert connection.execute("SELECT DISTINCT model FROM embeddings").fetchall() == [("pairs-384",)]


@pytest.mark.parametrize("page", [*PAGES, *sorted(DOCS.glob("adr/*.md")), ROOT / "CHANGELOG.md"], ids=_name)
def test_every_local_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    """No link is dead."""
    for link in links_of(page):
        if not link.startswith(("http://", "https://")):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page.name} links to {link}"
            assert not anchor or anchor in anchors_of(target), f"{page.name} links to {link}"


def test_the_index_names_every_page() -> None:
    """docs/README.md links to each page and each decision."""
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in links_of(DOCS / "README.md")}
    assert linked >= {path.resolve() for path in DOCS.rglob("*.md")} - {DOCS / "README.md"}


def test_every_field_of_the_report_of_ci_is_documented(shop: Sandbox) -> None:
    """docs/ci-report.md names all fields, in order, and no others; the same for OpenMetrics."""
    page = DOCS / "ci-report.md"
    metrics = shop.folder / "metrics"
    shop.run("ci", "--openmetrics", str(metrics), "--report", "report.json", check=True)
    report = json.loads((shop.folder / "report.json").read_text())
    sections = {
        "The document": report,
        "`metrics`": report["metrics"],
        "`attempts`": report["attempts"][0],
        "`slowdowns`": {**dataclasses.asdict(Slowdown("", 1, 1)), "factor": 1},
    }
    for heading, fields in sections.items():
        named = [name.strip(" `") for names in table_rows(page, heading) for name in names.split(",")]
        assert named == list(fields), heading
    named = [name.strip(" `") for names in table_rows(page, "OpenMetrics") for name in names.split(",")]
    assert set(named) == set(re.findall(r"^# TYPE (\w+) gauge$", metrics.read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=_name)
def test_a_page_is_short(page: Path) -> None:
    """At most 150 lines. Those of benchmarks and commands are written by programs and may be longer."""
    written = page.name in {"architecture.md", "benchmarks.md", "commands.md"}
    assert len(page.read_text(encoding="utf-8").splitlines()) <= (600 if written else 150)


@pytest.mark.parametrize(
    ("place", "table"),
    [
        ("configuration.md: The table `[snapseed]`", ProjectTable),
        ("configuration.md: The tables `[environments.NAME]`", EnvironmentTable),
        ("configuration.md: The table `[embeddings]`", EmbeddingsTable),
        ("subset.md: The table `[capture]`", CaptureTable),
        ("subset.md: The tables in `[capture.children]`", ChildrenTable),
        ("subset.md: The tables `[[capture.references]]`", ReferenceTable),
    ],
)
def test_every_setting_is_documented_with_its_default(place: str, table: type[msgspec.Struct]) -> None:
    """Its page names all settings of a table, each with its default, and no others."""
    page, _, heading = place.partition(": ")
    rows = table_rows(DOCS / page, heading)
    assert list(rows) == list(table.__struct_fields__)
    for field in msgspec.structs.fields(table):
        name, default, shown = field.name, field.default, rows[field.name][1].strip("`")
        default = default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        assert (shown == "required") == field.required, name
        if field.required:
            continue
        value = None if shown == "—" else tomllib.loads(f"value = {shown}")["value"]
        assert (tuple(value) if isinstance(value, list) else value) == default, name


@pytest.mark.parametrize(
    ("heading", "record"),
    [
        ("The manifest", Manifest),
        ("An entity", EntityRecord),
        ("A column", Column),
        ("A list of files", FileList),
        ("A file", PartFile),
        ("A chunk", Chunk),
    ],
)
def test_every_field_of_the_manifest_is_documented(heading: str, record: type[msgspec.Struct]) -> None:
    """docs/manifest.md names all fields of a manifest, and no others."""
    stated = {"format", "identity"} if record is Manifest else set()
    assert set(table_rows(DOCS / "manifest.md", heading)) == stated | set(get_type_hints(record))


def test_the_import_layers_are_those_that_are_enforced() -> None:
    """docs/architecture.md shows the layers of pyproject.toml, in order."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    shown = (DOCS / "architecture.md").read_text(encoding="utf-8")
    places = [shown.find(f"\n{layer.strip('()')}\n") for layer in layers]
    assert -1 not in places
    assert places == sorted(places)


def test_every_public_name_is_documented() -> None:
    """Each name that `import snapseed` offers is on some page."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    assert [name for name in snapseed.__all__ if not re.search(rf"\b{name}\b", text)] == []


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _check_settings(block: Block, folder: Path) -> None:
    """The project accepts settings that a page shows, environments and variables included."""
    folder.mkdir(exist_ok=True)
    name = "pyproject.toml" if "[tool.snapseed" in block.text else "snapseed.toml"
    environments = "" if "environments.dev]" in block.text else "[environments.dev]\n"
    (folder / name).write_text(block.text + environments, encoding="utf-8")
    project = find_project(folder)
    for environment in project.environments:
        project.environment(environment)
    assert project.now <= datetime.now(UTC)
    (folder / name).unlink()


def test_the_settings_of_a_session_are_all_listed() -> None:
    """The page about servers names each setting that sessions pin, and no other."""
    _, _, rest = (DOCS / "servers.md").read_text(encoding="utf-8").partition("| why | settings |\n")
    assert set(re.findall(r"`(\w+)`", rest.partition("\n\n")[0])) == PINNED.keys()
