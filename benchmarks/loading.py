"""The whole load and what its guarantees cost: the same steps by hand without them, and verification by itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.copying import server_side_copy, write
from benchmarks.measure import Findings, Headline, Spread, Table, in_turns, seconds
from benchmarks.place import Place
from snapseed.config import Environment
from snapseed.load import steps
from snapseed.load.plan import LoadPlan, plan_load
from snapseed.load.report import LoadReport
from snapseed.load.run import load_snapshot
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.connect import Connection
from snapseed.postgres.fit import table_name
from snapseed.snapshot.store import Snapshot
from snapseed.verify.database import verify_snapshot

_COPYING, _VERIFYING = "copying rows", "verifying"
# Shorter phases are left out of the table.
_SHORTEST = 0.005
# A whole load takes several seconds and syncs to the disk; three of them in turns show what they can.
_ROUNDS = 3


def measure(place: Place) -> Findings:
    """A million `shares` with their users, keys, indexes and checks; and all four entities at scale 10k."""
    rounds = min(_ROUNDS, place.rounds)
    headlines: list[Headline] = []
    large = place.snapshot(place.rows(200_000), "users", "shares")
    with place.connection("large") as connection:
        _apply_schema(place, connection)
        # They are not in this snapshot, and a table that others refer to would have to be emptied by DELETE.
        connection.execute("DROP TABLE transcripts, embeddings")
        plan = _plan(connection, large)
        files = [write(large, table, place.project.folder / f"{table.entity.name}.copy") for table in plan.tables]
        environment = place.environment(large, "large")
        loads, by_hand = _in_turns(place, environment, connection, plan, files, rounds)
        whole, least = Spread(tuple(load.seconds for load in loads)), Spread(tuple(by_hand))
        headlines += [
            Headline(
                f"whole load of users and shares: {large.manifest.rows:,} rows, with keys, indexes, checks",
                "the same steps by hand with server-side COPY, files not checked, rows not verified",
                whole / least,
                f"{whole.median:.1f} s ÷ {least.median:.1f} s",
            ),
            *_verification(place, environment, "users and shares", loads),
        ]
    everything = place.snapshot(place.rows(10_000))
    environment = place.environment(everything, "everything")
    all_loads = [load_snapshot(place.project, environment, consent=True) for _ in range(rounds)]
    headlines += _verification(place, environment, "all four entities at 10k", all_loads)
    return Findings(tuple(headlines), (_phases(loads, all_loads), _entities(all_loads)))


def _in_turns(
    place: Place, environment: Environment, connection: Connection, plan: LoadPlan, files: Sequence[Path], rounds: int
) -> tuple[list[LoadReport], list[float]]:
    loads: list[LoadReport] = []

    def through_snapseed() -> float:
        loads.append(load_snapshot(place.project, environment, consent=True))
        return loads[-1].seconds

    _, by_hand = in_turns(rounds, through_snapseed, partial(seconds, partial(_by_hand, connection, plan, files)))
    return loads, by_hand


def _by_hand(connection: Connection, plan: LoadPlan, files: Sequence[Path]) -> None:
    """What a careful person would script with the same files on the server."""
    with connection.transaction():
        steps.empty(connection, plan)
        steps.drop(connection, plan)
        for table, file in zip(plan.tables, files, strict=True):
            server_side_copy(connection, table, file)
        steps.build_indexes(connection, plan)
        steps.build_foreign_keys(connection, plan)
    steps.analyze(connection, plan)


def _verification(
    place: Place, environment: Environment, what: str, loads: Sequence[LoadReport]
) -> tuple[Headline, Headline]:
    copying = _phase(loads, _COPYING)
    within = _phase(loads, _VERIFYING)
    reports = [verify_snapshot(place.project, environment) for _ in loads]
    assert all(report.agrees for report in reports)
    later = Spread(tuple(report.phases["rows"] for report in reports))
    return (
        Headline(
            f"verification inside the load: {what}",
            "its COPY phase",
            within / copying,
            f"{within.median:.2f} s ÷ {copying.median:.2f} s",
        ),
        Headline(
            f"`snapseed verify`, its database part: {what}",
            "the COPY phase of the load",
            later / copying,
            f"{later.median:.2f} s ÷ {copying.median:.2f} s",
        ),
    )


def _phase(loads: Sequence[LoadReport], name: str) -> Spread:
    return Spread(tuple(load.phases[name] for load in loads))


def _phases(large: Sequence[LoadReport], everything: Sequence[LoadReport]) -> Table:
    def cells(loads: Sequence[LoadReport], name: str) -> tuple[str, str]:
        middle, whole = _phase(loads, name).median, Spread(tuple(load.seconds for load in loads)).median
        return f"{middle:.2f}", f"{middle / whole:.0%}"

    # The first load of a database creates the schema; the last is like all that follow.
    rows = [
        (name, *cells(large, name), *cells(everything, name))
        for name in everything[-1].phases
        if max(_phase(large, name).median, _phase(everything, name).median) >= _SHORTEST
    ]
    return Table(
        "Phases of a load",
        f"Median seconds, and part of the whole: users and shares ({large[0].plan.rows:,} rows), and all four"
        f" entities ({everything[0].plan.rows:,} rows).",
        ("phase", "users, shares", "part", "all four", "part"),
        rows,
    )


def _entities(loads: Sequence[LoadReport]) -> Table:
    rows = []
    for index, entity in enumerate(loads[0].entities):
        mine = [load.entities[index] for load in loads]
        taken = Spread(tuple(load.seconds for load in mine)).median
        encoding = Spread(tuple(load.encode + load.read for load in mine)).median
        rows.append(
            (
                f"`{entity.entity}`",
                f"{entity.rows:,}",
                f"{entity.bytes / 1e6:.0f} MB",
                f"{taken:.2f} s",
                f"{encoding:.2f} s",
                f"{entity.bytes / 1e6 / taken:.0f} MB/s",
            )
        )
    return Table(
        "COPY phase by entity",
        "All four entities, into tables with their keys and checks. Reading and encoding run beside the sending;"
        " where they take much less than the whole, the server is what one waits for.",
        ("entity", "rows", "sent", "whole", "read, encode", "speed"),
        rows,
    )


def _plan(connection: Connection, snapshot: Snapshot) -> LoadPlan:
    entities = snapshot.manifest.entities
    facts = read_tables(connection, [table_name(entity) for entity in entities])
    return plan_load(entities, {entity.name: facts[table_name(entity)] for entity in entities})


def _apply_schema(place: Place, connection: Connection) -> None:
    assert place.project.schema is not None
    with connection.transaction():
        connection.execute(place.project.schema.read_bytes())
