"""The page of `snapseed report`, read without a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from snapseed import load_snapshot
from snapseed.cli.app import app
from snapseed.config import Project
from snapseed.diff.compare import ChangedRow, DiffReport, EntityDiff, SampleRow
from snapseed.errors import UsageError
from snapseed.postgres.provenance import last_loads
from snapseed.report.page import Page, PageRequest, make_page, read_load
from tests.conftest import Sandbox
from tests.report.snapshots import DIFFERENCES, HOSTILE, LOAD, hostile_snapshot, project_of, wide_snapshot


class Reader(HTMLParser):
    """The names of a page's elements, their attributes, and the texts in them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Keep the element and its attributes."""
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.texts.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the snapshot that all may go wrong with."""
    folder = tmp_path_factory.mktemp("report")
    hostile_snapshot(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    """Its page."""
    project = project_of(folder)
    return make_page(project, project.environment("dev"))


def test_values_do_not_leave_their_place(page: Page) -> None:
    """They are text where they stand: no element, attribute or handler is made of them."""
    read = Reader(page.html)
    assert any(HOSTILE[:40] in text for text in read.texts)
    assert "img" not in read.tags
    assert read.tags.count("script") == 1
    assert not [name for name, _ in read.attributes if name.startswith("on") or name == "style"]


def test_the_page_needs_nothing_else(page: Page) -> None:
    """Links stay in it, and its policy allows its own style and script, by their digests, and no address."""
    read = Reader(page.html)
    targets = [value for name, value in read.attributes if name in {"href", "src"}]
    assert targets
    assert all(target.startswith("#") for target in targets)
    (policy,) = [value for name, value in read.attributes if name == "content" and "default-src" in value]
    assert policy.startswith("default-src 'none';")
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page.html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_every_link_has_its_target(page: Page) -> None:
    """Identifiers are there once."""
    read = Reader(page.html)
    known = [value for name, value in read.attributes if name == "id"]
    assert len(known) == len(set(known))
    assert {value[1:] for name, value in read.attributes if name == "href"} <= set(known)


def test_the_same_snapshot_has_the_same_page(folder: Path, page: Page) -> None:
    """Byte for byte."""
    project = project_of(folder)
    assert make_page(project, project.environment("dev")).html == page.html


def test_rows_that_are_not_those_of_the_manifest_are_named(tmp_path: Path) -> None:
    """A forged fingerprint is found in the one pass over the rows."""
    hostile_snapshot(tmp_path, changed=True)
    project = project_of(tmp_path)
    page = make_page(project, project.environment("dev"))
    assert page.different == ("parts",)
    assert "Files differ" in page.html


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose snapshot looks as if it were captured with some columns masked, its key and its topic too."""
    folder = tmp_path_factory.mktemp("masked")
    hostile_snapshot(folder, masked=("things.id", "things.status", "things.note"))
    return project_of(folder)


@pytest.mark.parametrize("samples", [True, False])
def test_masked_columns_show_no_values(samples: bool, masked: Project) -> None:  # noqa: FBT001 - a case
    """Neither samples nor frequent values; without samples, no column shows any.

    Nor do differences, of either side, also in a key: the other side may be the database that the capture came from.
    """
    row = SampleRow("4711", {"id": "4711", "note": "Ada Costa", "name": "a name"})
    changed = ChangedRow("4712", {"note": ("before", "after"), "name": ("some name", "other name")})
    found = DiffReport("left", "right", (), (EntityDiff("things", 1, 0, 1, removed=(row,), changed=(changed,)),))
    html = make_page(masked, masked.environment("dev"), PageRequest(samples=samples, differences=found)).html
    assert "open</span>" not in html
    assert not re.search(r"note \d", html)
    assert ("name 2" in html) is samples
    assert ("99.9" in html) is samples
    assert "Embedding map" in html
    assert "Colored by" not in html
    texts = {"4711", "4712", "Ada Costa", "before", "after", "a name", "some name", "other name"}
    shown = {text for text in texts if f"<td>{text}" in html}
    assert shown == ({"a name", "some name", "other name"} if samples else set())


def test_a_page_fits_whatever_the_tables(tmp_path: Path) -> None:
    """Details are left out, the least important first; the names of all tables stay."""
    wide_snapshot(tmp_path, tables=4, columns=12)
    project = project_of(tmp_path)
    sizes = []
    for most in (10**9, 43_000, 41_000, 36_000, 30_000, 26_500, 22_000):
        html = make_page(project, project.environment("dev"), PageRequest(most_bytes=most)).html
        sizes.append(len(html.encode()))
        assert sizes[-1] <= most
        assert "table_003" in html
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


def test_a_load_and_differences_are_shown(folder: Path) -> None:
    """What the load waited for; counts, and values of rows that differ."""
    file = folder / "load.json"
    file.write_text(json.dumps({"outcome": "passed", "load": LOAD}))
    of_ci = read_load(file)
    file.write_text(json.dumps(LOAD))
    assert read_load(file) == of_ci
    project = project_of(folder)
    page = make_page(project, project.environment("dev"), PageRequest(load=of_ci, differences=DIFFERENCES))
    texts = Reader(page.html).texts
    assert {"copying rows", "2.000", "11", "22", "33", "4711", "before", r"\x1b"} <= {text.strip() for text in texts}
    assert any("the server, 75 %" in text for text in texts)
    for broken in ("{", '{"load": null}', "[]", '{"phases": {}}', '{"error": {"type": "LoadError"}}'):
        file.write_text(broken)
        with pytest.raises(UsageError):
            read_load(file)
    with pytest.raises(UsageError):
        read_load(folder / "missing.json")


def test_the_last_load_and_foreign_keys_are_read_from_the_database(shop: Sandbox) -> None:
    """Without a schema file, and as far as the record says: an older one has no times, and is read all the same."""

    def made() -> tuple[list[str], int]:
        """The headings of the page, and the lines between tables: each for wide and for small screens."""
        html = make_page(shop.project, shop.environment("dev")).html
        return re.findall("<h2 id=(load|loads)>", html), html.count("<path class=l")

    by_schema = made()
    assert by_schema[0] == []
    load_snapshot(shop.project, shop.environment())
    (shop.folder / "snapseed.toml").write_text("[environments.dev]\n")
    assert made() == (["load", "loads"], by_schema[1])
    with shop.connect() as connection:
        ((times,),) = connection.execute("SELECT state ->> 'times' FROM snapseed.loads").fetchall()
        phases = list(json.loads(str(times))["phases"])
        assert phases.index("connecting") < phases.index("copying rows") < phases.index("verifying")
        connection.execute("UPDATE snapseed.loads SET state = state - 'times'")
        connection.execute("ALTER TABLE orders DROP CONSTRAINT orders_category_fkey")
        assert made() == (["loads"], by_schema[1] - 2)
        assert last_loads(connection)[0].times is None


def test_the_command_writes_the_page(folder: Path, page: Page) -> None:
    """Into the file that it names, without a database."""
    project_of(folder)
    file = folder / "here.html"
    done = CliRunner().invoke(app, ["report", "dev", "--project", str(folder), "--output", str(file)])
    assert done.exit_code == 0, done.output
    assert file.name in done.output
    assert file.read_text(encoding="utf-8") == page.html
