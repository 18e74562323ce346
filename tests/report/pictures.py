"""Pictures of pages, to look at: `python -m tests.report.pictures FOLDER [PAGE …]`, or `make report-pictures`.

Of the example, of hostile texts, of 200 tables, and of the pages that are named: light, dark, on a phone and printed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from snapseed.config import find_project
from snapseed.load.outcome import LoadTimes
from snapseed.report.page import PageRequest, make_page
from tests.report.snapshots import DIFFERENCES, LOAD, hostile_snapshot, project_of, wide_snapshot

ROOT = Path(__file__).parents[2]
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# A page is shown in pieces of this height, and no more of them.
_HIGH, _MOST = 1_600, 4


@contextmanager
def opened_browser() -> Iterator[Any]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


def write_page(folder: Path, name: str) -> Path:
    """A file with the page of the example's snapshot, the wide one, or the hostile one with a load and differences."""
    with tempfile.TemporaryDirectory() as temporary:
        project, environment, request = find_project(ROOT), "ci", PageRequest()
        if name == "hostile":
            hostile_snapshot(Path(temporary))
            request = PageRequest(load=msgspec.convert(LOAD, LoadTimes), differences=DIFFERENCES)
        elif name == "wide":
            wide_snapshot(Path(temporary))
        if name != "example":
            project, environment = project_of(Path(temporary)), "dev"
        file = folder / f"{name}.html"
        file.write_text(make_page(project, project.environment(environment), request).html, encoding="utf-8")
        return file


def main(folder: Path, pages: list[Path]) -> None:
    """Write the pages and their pictures into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = [*(write_page(folder, name) for name in ("example", "hostile", "wide")), *pages]
    looks = {"light": DESK, "dark": DESK, "phone": PHONE, "print": {"width": 1030, "height": 700}}
    with opened_browser() as browser:
        for page in pages:
            for look, size in looks.items():
                tab = browser.new_page(viewport=size, color_scheme="dark" if look == "dark" else "light")
                tab.goto(page.resolve().as_uri())
                tab.emulate_media(media="print" if look == "print" else "screen")
                height = tab.evaluate("document.documentElement.scrollHeight")
                tab.set_viewport_size({**size, "height": min(height, _HIGH * _MOST)})
                for at in range(min(_MOST, -(-height // _HIGH))):
                    area = {"x": 0, "y": at * _HIGH, "width": size["width"], "height": min(_HIGH, height - at * _HIGH)}
                    tab.screenshot(path=folder / f"{page.stem}-{look}-{at + 1}.png", clip=area)
                tab.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
