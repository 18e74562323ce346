"""The stream delivers every row in order, in bounded memory, and its thread always ends."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import msgspec
import pytest

from snapseed import LoadRequest, load_snapshot, open_snapshot
from snapseed.errors import SnapshotError
from snapseed.load.copy import encoded, read_ahead
from snapseed.load.plan import LoadPlan, TablePlan
from snapseed.load.request import LoadSettings
from snapseed.snapshot.store import Snapshot
from tests.conftest import Sandbox
from tests.projects.state import patiently

# Batches of a row or two.
SMALL = LoadSettings(batch_bytes=100, queue_depth=3)


@pytest.fixture
def snapshot(shop: Sandbox) -> Snapshot:
    """The shop's snapshot."""
    return open_snapshot(shop.project.snapshots, "dev")


@pytest.fixture
def plan(shop: Sandbox) -> LoadPlan:
    """The plan to load it."""
    return load_snapshot(shop.project, shop.environment(), LoadRequest(dry_run=True)).plan


@pytest.fixture
def orders(plan: LoadPlan) -> TablePlan:
    """The plan of an entity in three parts."""
    (found,) = (table for table in plan.tables if table.entity.name == "orders")
    assert len(found.entity.files) == 3
    return found


def encoders() -> list[threading.Thread]:
    """The encoding threads that are alive."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("encode ")]


def test_all_rows_come_once_whatever_the_size_of_a_batch(snapshot: Snapshot, orders: TablePlan) -> None:
    """Small batches joined are the large ones, byte for byte."""
    with encoded(snapshot, orders) as stream:
        whole = list(stream)
    with encoded(snapshot, orders, SMALL) as stream:
        small = list(stream)
    assert len(small) > 20 * len(whole)
    assert sum(batch.rows for batch in small) == orders.entity.rows
    assert b"".join(bytes(batch.data) for batch in small) == b"".join(bytes(batch.data) for batch in whole)
    assert sum(batch.read_seconds for batch in small) > 0
    assert all(batch.encode_seconds > 0 for batch in small)


def test_the_thread_ends_when_nobody_wants_the_rows(snapshot: Snapshot, orders: TablePlan) -> None:
    """Leaving the block ends the thread, by an exception or not."""
    with encoded(snapshot, orders, SMALL) as stream:
        next(stream)
        assert encoders()
    assert not encoders()
    with pytest.raises(KeyboardInterrupt), encoded(snapshot, orders, SMALL):
        raise KeyboardInterrupt
    assert not encoders()


def test_the_encoder_waits_for_the_socket() -> None:
    """It produces as many batches as may wait and one more, however many are to come."""
    produced: list[int] = []

    def numbers() -> Iterator[int]:
        for number in count(1):
            produced.append(number)
            yield number

    with read_ahead(numbers(), 3, "encode numbers") as ahead:
        patiently(lambda: len(produced) == 4)
        assert [next(ahead), next(ahead)] == [1, 2]
        patiently(lambda: len(produced) == 6)
    assert len(produced) == 6


def test_the_process_ends_when_the_reader_is_gone() -> None:
    """An interrupt may strike where no cleanup follows. The process must end all the same."""
    program = """
import itertools
from snapseed.load.copy import read_ahead
block = read_ahead(itertools.count(1), 3, "encode")
print(next(block.__enter__()))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1\n", "")


@pytest.mark.parametrize("damage", [b"", b"PAR1 not really PAR1", None], ids=["empty", "nonsense", "missing"])
def test_a_part_that_cannot_be_read_is_named(snapshot: Snapshot, orders: TablePlan, damage: bytes | None) -> None:
    """The failure of the thread is raised where the rows were expected, and the thread has ended."""
    path = Path(snapshot.path(orders.entity.files[1]))
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(SnapshotError) as caught, encoded(snapshot, orders) as stream:
        list(stream)
    assert str(path) in str(caught.value)
    assert not encoders()


def test_a_part_of_another_entity_is_not_taken_for_it(snapshot: Snapshot, orders: TablePlan) -> None:
    """Columns with a wrong type or name are reported before any row is sent."""
    categories = snapshot.manifest.entity("categories")
    assert categories is not None
    table = replace(orders, entity=msgspec.structs.replace(orders.entity, files=categories.files))
    with pytest.raises(SnapshotError, match="cannot be read") as caught, encoded(snapshot, table) as stream:
        list(stream)
    assert "column 'id': no such column, expected int64" in str(caught.value)
