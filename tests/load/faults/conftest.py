"""A shop with rows to lose, and a server that a test may harm."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Sandbox, copied, new_database
from tests.projects.own_server import OwnServer
from tests.projects.state import load_and_mark, replacing


@pytest.fixture(scope="session")
def marked(
    server: str, generated_once: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The database of a shop that was loaded and then changed. Tests use copies of it."""
    folder = copied(generated_once("shop"), tmp_path_factory.mktemp("marked"))
    with new_database(server) as url:
        yield load_and_mark(Sandbox(folder, url)).url


@pytest.fixture
def loaded(server: str, marked: str, generated_once: Callable[[str], Path], tmp_path: Path) -> Iterator[Sandbox]:
    """A shop whose tables hold rows that a second load would replace."""
    with new_database(server, template=marked) as url:
        yield replacing(Sandbox(copied(generated_once("shop"), tmp_path), url))


@pytest.fixture
def loaded_there(shop: Sandbox, harmed: OwnServer) -> Sandbox:
    """The shop of `loaded` on the server that may be harmed."""
    there = Sandbox(shop.folder, harmed.make_database(f"harmed_{uuid.uuid4().hex[:12]}"))
    loaded = load_and_mark(there)
    harmed.flush()
    return loaded
