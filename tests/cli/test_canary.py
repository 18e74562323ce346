"""A password that is easy to find is in no output and no file of a command: the short form of `make stress-canary`."""

from __future__ import annotations

import base64
from itertools import islice
from pathlib import Path

from tests.conftest import Sandbox
from tests.stress.canary import SECRET, WRITTEN, leaks, runs, shows_secret


def test_every_form_of_the_password_is_recognized() -> None:
    """Parts of it, and what it looks like in base64 after any prefix."""
    assert not shows_secret("postgresql://me:***@host/db")
    for text in (SECRET, repr(SECRET), SECRET[:9], SECRET.split("@", maxsplit=1)[1]):
        assert shows_secret(f"a line\nand {text}")
    for prefix in ("", "a", "me:", "postgresql://me:"):
        assert shows_secret(base64.b64encode(f"{prefix}{SECRET}".encode()).decode())


def test_no_command_shows_it(shop: Sandbox, tmp_path: Path) -> None:
    """One run in two hundred; the script does them all."""
    root = tmp_path / "canary"
    root.mkdir()
    for run in islice(runs(shop.url, "unix:///nowhere?db=0", root), 0, None, 201):
        found, code = leaks(run, shop.folder, root / WRITTEN)
        assert (found, code >= 0) == ([], True), run
