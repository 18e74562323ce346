"""One database for all tests of subsets: each makes its tables in a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from snapseed.postgres.connect import Session
from tests.capture.subset.choosing import session_with
from tests.conftest import new_database


@pytest.fixture(scope="session")
def shared_session(server: str) -> Iterator[Session]:
    """A connection to an empty database, in whose transactions tests make tables."""
    with new_database(server) as url, session_with(url) as session:
        yield session


@pytest.fixture
def session(shared_session: Session) -> Session:
    """The shared connection, outside a transaction."""
    assert shared_session.info.transaction_status.name == "IDLE"
    return shared_session
