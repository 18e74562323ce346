"""status says what each database holds, and creates, starts and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from snapseed import generate_snapshot, load_snapshot, resolve_request, verify_snapshot
from snapseed.errors import UsageError
from snapseed.load.request import LoadRequest
from snapseed.postgres.connect import has_database
from snapseed.servers import EmbeddedPostgres
from snapseed.servers.targets import resolve_target
from snapseed.verify.status import EnvironmentStatus, status
from tests.conftest import Sandbox, WithData
from tests.differences import diff_snapshot
from tests.projects.state import contents


def state_of(sandbox: Sandbox) -> EnvironmentStatus:
    """The status of dev, on the test's database."""
    (found,) = status(sandbox.project, ["dev"])
    return found


@pytest.fixture
def on_database(shop: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The shop, whose environment uses the test's database."""
    monkeypatch.setenv("SNAPSEED_DATABASE", shop.url)
    return shop


@pytest.fixture
def embedded(shop: Sandbox, with_data: WithData) -> Iterator[EmbeddedPostgres]:
    """The shop's own server, running."""
    server = with_data(shop.folder)
    server.start()
    yield server
    server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_the_server_of_another_account_is_not_said_to_be_stopped(shop: Sandbox) -> None:
    """Only that account sees what it does."""
    data = EmbeddedPostgres(shop.folder).data_directory
    data.mkdir(parents=True)
    os.chown(data, 4321, 4321)
    project = shop.project
    os.seteuid(1234)
    try:
        (found,) = status(project, ["dev"])
    finally:
        os.seteuid(0)
    assert "another account" in found.state


def test_an_empty_database_has_nothing_loaded(on_database: Sandbox) -> None:
    """Looking does not even create the record of loads."""
    with on_database.connect() as connection:
        before = contents(connection)
        found = state_of(on_database)
        assert (found.loaded, found.state) == (None, "nothing loaded")
        assert contents(connection) == before


def test_what_was_loaded_last_is_named(on_database: Sandbox) -> None:
    """With the identity of its manifest, the version, and whether it is the snapshot on disk."""
    report = load_snapshot(on_database.project, on_database.environment())
    found = state_of(on_database)
    assert found.loaded is not None
    assert found.loaded.identity == report.manifest.identity
    assert found.loaded.rows == report.manifest.rows
    assert found.loaded.tables == tuple(str(step.table) for step in report.plan.tables)
    assert found.state == "last loaded: the snapshot on disk; not compared"


def test_a_load_of_some_entities_is_a_part(on_database: Sandbox) -> None:
    """Until the others are loaded too, and again once a load has emptied them, which its record says."""
    project, environment = on_database.project, on_database.environment()
    load_snapshot(project, environment)
    assert state_of(on_database).missing == ()
    report = load_snapshot(project, environment, LoadRequest(only=["customers"], with_children=True))
    found = state_of(on_database)
    assert "orders" in found.missing
    assert "customers" not in found.missing
    assert "partly loaded" in found.state
    lost = {str(child.table): child.rows for child in report.plan.children}
    assert lost["public.orders"]
    with on_database.connect() as connection:
        state = connection.execute("SELECT state -> 'emptied' FROM snapseed.loads ORDER BY id DESC LIMIT 1").fetchone()
    assert state == (lost,)
    load_snapshot(project, environment, LoadRequest(only=found.missing))
    assert state_of(on_database).missing == ()


def test_another_snapshot_than_the_one_on_disk_is_said_to_be(on_database: Sandbox) -> None:
    """A snapshot that was generated after the load is not the loaded one."""
    load_snapshot(on_database.project, on_database.environment())
    request = resolve_request(on_database.project, on_database.environment(), scale=20, seed=None)
    generate_snapshot(on_database.project, request)
    assert state_of(on_database).state == "last loaded: not the snapshot on disk"


def test_a_seed_beyond_64_bits_of_sign_is_recorded_as_it_is(on_database: Sandbox) -> None:
    """The largest seed survives the record of loads."""
    request = resolve_request(on_database.project, on_database.environment(), scale=20, seed=2**64 - 1)
    generate_snapshot(on_database.project, request)
    load_snapshot(on_database.project, on_database.environment())
    loaded = state_of(on_database).loaded
    assert loaded is not None
    assert loaded.seed == 2**64 - 1


def test_what_cannot_be_asked_is_a_state_not_an_error(shop: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer, a URL that cannot be parsed."""
    for url, words in (("postgresql://127.0.0.1:1/x", "cannot be reached"), ("postgresql://[", "cannot be parsed")):
        monkeypatch.setenv("SNAPSEED_DATABASE", url)
        found = state_of(shop)
        assert found.loaded is None
        assert words in found.state


def test_no_server_is_set_up_or_started(shop: Sandbox) -> None:
    """A project whose embedded server never ran has no data folder after status, verify and diff either."""
    assert state_of(shop).state == "embedded server not running"
    for look in (verify_snapshot, diff_snapshot):
        with pytest.raises(UsageError):
            look(shop.project, shop.project.environment())
    assert not (shop.folder / ".snapseed").exists()


def test_no_database_is_made_on_a_running_server(shop: Sandbox, embedded: EmbeddedPostgres) -> None:
    """The environment's database is missing before status, verify and diff, and missing afterwards."""
    target = resolve_target(shop.project, shop.project.environment())
    assert state_of(shop).state == "nothing loaded"
    for look in (verify_snapshot, diff_snapshot):
        with pytest.raises(UsageError):
            look(shop.project, shop.project.environment())
    assert not has_database(target)
    load_snapshot(shop.project, shop.project.environment())
    assert has_database(target)
    assert state_of(shop).state == "last loaded: the snapshot on disk; not compared"
    assert embedded.is_running()
