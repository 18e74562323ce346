"""The shop on a server that a test may harm."""

from __future__ import annotations

import uuid

import pytest

from tests.conftest import Sandbox
from tests.projects.own_server import OwnServer


@pytest.fixture
def shop_there(shop: Sandbox, harmed: OwnServer) -> Sandbox:
    """The shop with an empty database on that server."""
    there = Sandbox(shop.folder, harmed.make_database(f"harmed_{uuid.uuid4().hex[:12]}"))
    harmed.flush()
    return there
