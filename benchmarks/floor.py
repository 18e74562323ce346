"""The COPY phase of a load against the floor: the server reads the very same bytes from a file of its own.

Neither side has a key or an index, and neither time holds a commit. What snapseed does is asked of its front door.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import psycopg
from psycopg import sql

from benchmarks.measure import Findings, Headline, seconds, spreads_in_turns
from benchmarks.place import Place, project_of
from snapseed.load.outcome import LoadReport
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot

_ROWS = 1_000_000
_BAR = 1.15
# Each takes a second, so there is time for more rounds than of others.
_TIMES_AS_OFTEN = 3


def measure(place: Place) -> Findings:
    """A million rows of ten common columns."""
    snapshot = place.ten_columns(place.rows(_ROWS))
    project = project_of(snapshot)
    place.server.ensure_database("floor")
    url = place.server.url("floor")
    environment = replace(
        project.environment("dev"), name="floor", snapshot=snapshot.manifest.name, database=url, create_schema=False
    )
    # The server writes and reads it, so it has to lie where the server's account can write.
    file = place.server.data_directory / "floor.copy"
    loads: list[LoadReport] = []

    def through_snapseed() -> float:
        loads.append(load_snapshot(project, environment, LoadRequest(consent=True, verify=False)))
        return loads[-1].phases["copying rows"]

    with closing(psycopg.connect(url, autocommit=True)) as connection:
        assert project.schema is not None
        connection.execute(project.schema.read_bytes())
        connection.execute("ALTER TABLE ten_columns DROP CONSTRAINT ten_columns_pkey")
        through_snapseed()
        copy = "COPY ten_columns {} {} WITH (FORMAT binary{})"
        connection.execute(sql.SQL(copy).format(sql.SQL("TO"), sql.Literal(str(file)), sql.SQL("")))
        read = sql.SQL(copy).format(sql.SQL("FROM"), sql.Literal(str(file)), sql.SQL(", FREEZE"))

        def by_the_server() -> float:
            with connection.transaction():
                connection.execute("TRUNCATE ten_columns")
                return seconds(lambda: connection.execute(read))

        mine, floor = spreads_in_turns(_TIMES_AS_OFTEN * place.rounds, through_snapseed, by_the_server)
    size = loads[-1].entities[0].bytes
    assert abs(file.stat().st_size - size) < 100, "not the same bytes"
    file.unlink()
    return Findings(
        (
            Headline(
                f"COPY phase of `ten_columns`: {snapshot.manifest.rows:,} rows, {size / 1e6:.0f} MB",
                "`COPY FROM 'file' (FORMAT binary, FREEZE)` by the server, the same bytes",
                mine / floor,
                f"{mine.median:.2f} s ÷ {floor.median:.2f} s",
                _BAR,
            ),
        )
    )
