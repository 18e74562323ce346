"""A shop with something to lose, and a server that a test may harm."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.conftest import Sandbox
from tests.projects.own_server import OwnServer, own_server
from tests.projects.state import load_and_mark


@pytest.fixture
def loaded(shop: Sandbox) -> Sandbox:
    """A shop whose tables hold rows that a second load would replace."""
    return load_and_mark(shop)


@pytest.fixture(scope="session")
def harmed() -> Iterator[OwnServer]:
    """A server that is stopped, filled and starved; always one of our own, whichever the other tests use."""
    with own_server() as server:
        yield server


@pytest.fixture
def loaded_there(shop: Sandbox, harmed: OwnServer) -> Sandbox:
    """The shop of `loaded` on the server that may be harmed."""
    there = Sandbox(shop.folder, harmed.make_database(f"harmed_{uuid.uuid4().hex[:12]}"))
    loaded = load_and_mark(there)
    harmed.flush()
    return loaded
