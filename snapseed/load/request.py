"""What a user asks of a load, and the few sizes that tests and benchmarks vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from snapseed.snapshot.manifest import names_of


class Mode(StrEnum):
    """What to do with existing rows: replace them, add to them, or update those that have the key of a new row.

    `REPAIR` is that of `snapseed.diff.repair`: the rows that differ are changed, and nothing else.
    """

    REPLACE = "replace"
    APPEND = "append"
    UPSERT = "upsert"
    REPAIR = "repair"


@dataclass(frozen=True)
class LoadRequest:
    """One load.

    `only` names the entities to load, all if it is empty; `with_parents` adds the entities that their rows refer to.
    `with_children` allows emptying tables outside the load whose rows refer to replaced rows. `if_changed` does nothing
    if the database still holds the snapshot; `dry_run` stops after the plan. `unlogged` turns the tables into unlogged
    ones, which a crash of the server empties. `recreate` drops all tables first, in the same transaction, and creates
    them from the project's schema file. `consent` is the user's yes to losing rows that snapseed did not load.
    """

    only: Sequence[str] = ()
    mode: Mode = Mode.REPLACE
    with_parents: bool = False
    with_children: bool = False
    if_changed: bool = False
    dry_run: bool = False
    verify: bool = True
    unlogged: bool = False
    recreate: bool = False
    consent: bool = False

    def __post_init__(self) -> None:
        # Also accept "upsert", and a single name. The rest of the code compares by identity.
        object.__setattr__(self, "mode", Mode(self.mode))
        object.__setattr__(self, "only", names_of(self.only))


@dataclass(frozen=True)
class LoadSettings:
    """Sizes that were measured (docs/benchmarks.md).

    From `rebuild_rows` rows on, indexes and foreign keys are dropped and rebuilt: a foreign key gains a fifth or more
    from a thousand rows on, an index in key order never loses more than 5 %, one out of order gains from fifty
    thousand. `batch_bytes` of Arrow data are encoded at a time: below 1 MB the cost per batch shows, above 16 MB only
    memory grows. `queue_depth` encoded batches may wait for the socket: two keep it busy, two more even out chunks of
    unequal cost. Several connections pay from `parallel_rows` rows of a table on: below, exchanging the
    partitions takes longer.
    """

    rebuild_rows: int = 2_000
    batch_bytes: int = 4 << 20
    queue_depth: int = 4
    parallel_rows: int = 100_000
