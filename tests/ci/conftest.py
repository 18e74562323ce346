"""A server that a test may harm, with the shop's database on it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.conftest import Sandbox
from tests.projects.own_server import OwnServer, own_server


@pytest.fixture(scope="session")
def harmed() -> Iterator[OwnServer]:
    """A server that is stopped and guarded by passwords; always one of our own, whichever the other tests use."""
    with own_server() as server:
        yield server


@pytest.fixture
def shop_there(shop: Sandbox, harmed: OwnServer) -> Sandbox:
    """The shop with an empty database on that server."""
    there = Sandbox(shop.folder, harmed.make_database(f"harmed_{uuid.uuid4().hex[:12]}"))
    harmed.flush()
    return there
