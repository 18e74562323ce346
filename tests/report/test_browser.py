"""The page of `snapseed report` in a real browser: Chromium, as the system has it (`make test-browser`)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from snapseed.report.page import PageRequest
from tests.report.pictures import BROWSER, DESK, PHONE, opened_browser, write_page

pytestmark = pytest.mark.skipif(
    BROWSER is None or find_spec("playwright") is None or find_spec("axe_playwright_python") is None,
    reason="no browser, or not what drives it: run `make test-browser`",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One for all tests."""
    with opened_browser() as browser:
        yield browser


@pytest.fixture(scope="module", params=["hostile", "wide"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two tables with texts that try to get out, and one of 200 tables with 50 columns each."""
    return write_page(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(params=["light", "dark", "phone"])
def tab(request: pytest.FixtureRequest, browser: Any, file: Path) -> Iterator[Any]:  # noqa: ANN401 - may not be there
    """The page in one of three looks. It must ask for nothing and complain of nothing."""
    size = PHONE if request.param == "phone" else DESK
    tab = browser.new_page(color_scheme="dark" if request.param == "dark" else "light", viewport=size)
    complaints: list[str] = []
    requests: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(file.as_uri())
    yield tab
    tab.close()
    assert complaints == []
    assert requests == [file.as_uri()]


def test_axe_finds_no_serious_issue(tab: Any) -> None:  # noqa: ANN401 - as above
    """In either color scheme, and on a phone."""
    package = find_spec("axe_playwright_python")
    assert package
    assert package.origin
    tab.evaluate(Path(package.origin).with_name("axe.min.js").read_text(encoding="utf-8"))
    # One table of 200 stands for all: axe looks at each element several times.
    tab.evaluate("document.querySelectorAll('details:not(:first-of-type)').forEach((part) => part.remove())")
    tab.evaluate("document.querySelectorAll('.list tr:nth-child(n + 9)').forEach((row) => row.remove())")
    tab.evaluate("document.querySelector('details').open = true")
    found = tab.evaluate("axe.run()")
    assert found["passes"]
    issues = [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found["violations"]]
    assert [issue for issue, each in zip(issues, found["violations"], strict=True) if each["impact"] != "minor"] == []


def test_nothing_is_wider_than_the_screen(tab: Any) -> None:  # noqa: ANN401 - as above
    """Wide tables scroll in their own place."""
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_opens_in_a_second(tab: Any, file: Path) -> None:  # noqa: ANN401 - as above
    """However many the tables: a bound on size, and on elements that the browser has to lay out."""
    assert file.stat().st_size <= PageRequest().most_bytes
    assert tab.evaluate("[...document.querySelectorAll('details[open]')].length") <= 8


def test_charts_have_an_extent(tab: Any) -> None:  # noqa: ANN401 - as above
    """Boxes, lines, points and bars are drawn, each with an area on the screen."""
    tab.evaluate("document.querySelector('details').open = true")
    graph = tab.query_selector(".g:visible")
    others = [".m .p", ".columns .h path", ".time .b path"] if tab.query_selector(".m") else []
    for drawn in [*map(graph.query_selector, (".n", ".l")), *map(tab.query_selector, others)]:
        box = drawn.bounding_box()
        assert box["width"] > 1
        assert box["x"] + box["width"] <= tab.viewport_size["width"]


def test_a_click_sorts_and_a_second_one_turns_it_round(tab: Any) -> None:  # noqa: ANN401 - as above
    """By number where a column has numbers; the header says so."""
    header = tab.query_selector(".list th:nth-child(3)")
    seen = []
    for order in ("ascending", "descending"):
        header.query_selector("button").press("Enter")
        assert header.get_attribute("aria-sort") == order
        seen.append(tab.evaluate("[...document.querySelectorAll('.list td[data-v]')].map(cell => +cell.dataset.v)"))
    assert seen[0] == sorted(seen[0])
    assert seen[1] == seen[0][::-1]


def test_the_filter_finds_tables_by_their_columns(tab: Any) -> None:  # noqa: ANN401 - as above
    """What does not match is hidden, and how many are left is said aloud."""
    rows = "document.querySelectorAll('.list tbody tr:not([hidden])').length"
    total = tab.evaluate(rows)
    name = "made_at" if total == 2 else "table_017"
    tab.fill("#filter", name)
    assert tab.evaluate(rows) == 1
    assert tab.evaluate("document.querySelectorAll('details:not([hidden])').length") == 1
    assert tab.inner_text("output") == f"1 of {total} tables"
    tab.fill("#filter", "")
    assert tab.evaluate(rows) == total


def test_a_box_of_the_graph_leads_to_its_table(tab: Any) -> None:  # noqa: ANN401 - as above
    """Unfolded, by keyboard."""
    link = tab.query_selector(".g a:visible")
    target = link.get_attribute("href")
    link.press("Enter")
    tab.wait_for_function(f"document.querySelector({target!r}).open")
    assert tab.evaluate(f"document.querySelector({target!r}).open")


def test_printing_unfolds_all(tab: Any) -> None:  # noqa: ANN401 - as above
    """What is folded would not be on paper, nor what is wider than that."""
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.emulate_media(media="print")
    # A4, landscape.
    tab.set_viewport_size({"width": 1030, "height": 700})
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.evaluate("document.querySelectorAll('details:not([open])').length") == 0


def test_without_script_all_can_be_read(browser: Any, file: Path) -> None:  # noqa: ANN401 - as above
    """Some servers of artifacts forbid scripts. Every table opens by itself, and there is no filter without effect."""
    context = browser.new_context(java_script_enabled=False, viewport=PHONE)
    tab = context.new_page()
    tab.goto(file.as_uri())
    for closed in tab.locator("details:not([open]) > summary").all()[-1:]:
        closed.click()
    assert tab.locator(".columns").last.is_visible()
    assert not tab.locator("#filter").is_visible()
    context.close()
