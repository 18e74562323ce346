"""Loading the four example tables by snapseed and by its peers, each into an empty database of the same name.

What each leaves is proved to be the same: rows by the fingerprints of the manifest, indexes and constraints by name.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping
from functools import partial

import psycopg
from psycopg import sql

from benchmarks.measure import Findings, Headline, Spread, Table, seconds
from benchmarks.peers import Material, adbc_ingest, duckdb_insert, dumped, pg_restore
from benchmarks.place import Place
from snapseed.config import Environment
from snapseed.load.report import LoadReport
from snapseed.load.run import load_snapshot
from snapseed.verify.database import verify_snapshot

_USERS = 50_000
_ROUNDS = 3
# A peer that takes this many times as long as the fastest in the first round is not measured again.
_OUT_OF_REACH = 1.5
_WITHOUT, _WITH = "snapseed, rows not verified", "snapseed"
# Phases shorter than this are not worth mentioning.
_SHORT_SECONDS = 0.05

_DEFINITIONS = """
SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON oid = indexrelid
WHERE relnamespace = 'public'::regnamespace
UNION ALL
SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND convalidated
ORDER BY 1
"""


class Contest:
    """The contenders, and how long each took, round by round."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.snapshot = place.snapshot(place.rows(_USERS))
        self.loads: dict[str, list[LoadReport]] = {_WITHOUT: [], _WITH: []}
        self.environment: Environment = place.environment(self.snapshot, "peers")
        self.database = f"snapseed_{self.environment.name}"
        self._afresh()
        load_snapshot(place.project, self.environment, consent=True)
        self.definitions = self._definitions()
        self.material = self._dumped()
        self.peers: dict[str, Callable[[], object]] = {
            "`pg_restore -1`": partial(pg_restore, self.material, "--single-transaction"),
            "`pg_restore -j2`": partial(pg_restore, self.material, "--jobs=2"),
            "`adbc_ingest`": partial(adbc_ingest, self.material),
            "DuckDB, `INSERT … FROM read_parquet`": partial(duckdb_insert, self.material),
        }

    def run(self, rounds: int) -> dict[str, list[float]]:
        """Seconds of each contender: of all in the first round, then of snapseed and the peers that are near."""
        contenders: dict[str, Callable[[], object]] = {
            _WITHOUT: partial(self._load, _WITHOUT, verify=False),
            _WITH: partial(self._load, _WITH, verify=True),
            **self.peers,
        }
        times = {name: [self._timed(name, load)] for name, load in contenders.items()}
        fastest = min(times[name][0] for name in self.peers)
        for _ in range(rounds - 1):
            for name, load in contenders.items():
                if name not in self.peers or times[name][0] <= _OUT_OF_REACH * fastest:
                    times[name].append(self._timed(name, load, check=False))
        return times

    def _timed(self, name: str, load: Callable[[], object], *, check: bool = True) -> float:
        self._afresh()
        taken = seconds(load)
        if name in self.loads:
            # Nobody else's load ends with ANALYZE, so it counts for none.
            taken -= self.loads[name][-1].phases.get("analyzing", 0.0)
        if check:
            assert verify_snapshot(self.place.project, self.environment).agrees, f"{name}: other rows"
            assert self._definitions() == self.definitions, f"{name}: other indexes or constraints"
        return taken

    def _load(self, name: str, *, verify: bool) -> None:
        report = load_snapshot(self.place.project, self.environment, consent=True, verify=verify)
        self.loads[name].append(report)

    def _afresh(self) -> None:
        """An empty database; and nothing that an earlier round has left to be written to the disk."""
        with psycopg.connect(self.place.server.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.database)))
            self.place.server.ensure_database(self.database)
            connection.execute("CHECKPOINT")
        os.sync()

    def _definitions(self) -> list[tuple[object, ...]]:
        with psycopg.connect(self.place.server.url(self.database)) as connection:
            return connection.execute(_DEFINITIONS).fetchall()

    def _dumped(self) -> Material:
        url = self.place.server.url(self.database)
        return dumped(self.place.server.psql().parent, url, url, self.snapshot, self.place.project.folder)


def measure(place: Place) -> Findings:
    """The example at scale 50k: with and without verification, against the fastest peer."""
    contest = Contest(place)
    times = contest.run(min(_ROUNDS, place.rounds))
    contest.material.dump.unlink()
    fastest = min(contest.peers, key=lambda name: statistics.median(times[name]))
    floor = Spread(tuple(times[fastest]))
    headlines = [
        Headline(
            f"load of the four example tables, {what}: {contest.snapshot.manifest.rows:,} rows",
            f"the fastest of four peers: {fastest}",
            mine / floor,
            f"{mine.median:.1f} s ÷ {floor.median:.1f} s",
            bar,
        )
        for what, mine, bar in (
            ("rows not verified", Spread(tuple(times[_WITHOUT])), 0.7),
            ("verified", Spread(tuple(times[_WITH])), 1.0),
        )
    ]
    loads = contest.loads[_WITH]
    copying, verifying = (Spread(tuple(load.phases[name] for load in loads)) for name in ("copying rows", "verifying"))
    headlines.append(
        Headline(
            "verification inside that load",
            "its COPY phase",
            verifying / copying,
            f"{verifying.median:.2f} s ÷ {copying.median:.2f} s",
            0.5,
        )
    )
    return Findings(tuple(headlines), (_table(contest, times, loads),))


def _table(contest: Contest, times: Mapping[str, list[float]], loads: list[LoadReport]) -> Table:
    """Every contender as a ratio to snapseed with verification, and where snapseed's own time goes."""
    ours = times[_WITH]
    rows = []
    for name, taken in times.items():
        ratio = Spread(tuple(taken)) / Spread(tuple(ours[: len(taken)]))
        rows.append((name, f"{statistics.median(taken):.1f} s", f"{ratio.median:.2f}", ratio.range, str(len(taken))))
    text = (
        f"From an empty database to {contest.snapshot.manifest.rows:,} rows with all keys, foreign keys, checks and"
        " indexes of `generators/schema.sql`; ratios are to snapseed with verification. ANALYZE counts for none, the"
        " check of the files (SHA-256) and the verification count for snapseed. The peers' rows and constraints were"
        " checked in the first round. `pg_restore` reads a custom-format dump, not compressed; ADBC and DuckDB read the"
        " snapshot's Parquet files in one transaction each, into tables that the pre-data section of the dump makes,"
        " and its post-data section builds the rest. What a peer has no type for, and what it does then, is said in"
        f" `benchmarks/peers.py`. {_where_time_goes(loads)}"
    )
    return Table("Peers", text, ("way to load", "time", "÷ snapseed", "spread", "rounds"), rows)


def _where_time_goes(loads: list[LoadReport]) -> str:
    """Medians of the verified loads, by phase and by entity."""
    phases = {name: statistics.median(load.phases[name] for load in loads) for name in loads[0].phases}
    by_phase = ", ".join(f"{name} {taken:.2f}" for name, taken in phases.items() if taken >= _SHORT_SECONDS)
    by_entity = ", ".join(
        f"{entity.entity} {statistics.median(load.entities[index].seconds for load in loads):.2f}"
        for index, entity in enumerate(loads[0].entities)
    )
    return f"Seconds of snapseed's phases: {by_phase}; of copying rows: {by_entity}."
