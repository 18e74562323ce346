"""One load: what is asked of it, and what its steps share while it is at work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from snapseed.config import Environment, Project
from snapseed.database.connect import Connection, Target
from snapseed.load.plan import LoadOptions
from snapseed.load.report import LoadReport, Progress
from snapseed.snapshot.fingerprint import Fingerprint
from snapseed.snapshot.store import Snapshot


@dataclass(frozen=True)
class LoadRequest:
    """What is asked of one load.

    `only`: these entities alone; `with_parents`: and those that their rows refer to; `with_children`: other tables'
    rows that refer to replaced rows may be deleted. `consent` is the user's yes to losing rows that no load of ours put
    there. `if_changed`: nothing is done where the database already holds the snapshot.
    """

    only: Sequence[str] = ()
    options: LoadOptions = field(default_factory=LoadOptions)
    with_parents: bool = False
    with_children: bool = False
    if_changed: bool = False
    dry_run: bool = False
    consent: bool = False


@dataclass
class Job:
    """One load at work. `changes` and `fingerprints` are those of the tables by name, before the first row."""

    project: Project
    environment: Environment
    snapshot: Snapshot
    target: Target
    request: LoadRequest
    connection: Connection
    report: LoadReport
    progress: Callable[[Progress], None]
    log: Callable[[str], None]
    changes: dict[str, int] = field(default_factory=dict)
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)
