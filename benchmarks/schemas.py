"""Published schemas: what `init --from-database` makes of them, and whether it runs through without an edit.

`python -m benchmarks.schemas FOLDER [NAME ...]` takes a folder with one SQL file for each schema. `schemas.toml` lists
those of the report, and where they come from; the files themselves are not in this repository.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from benchmarks.likeness import Likeness, compared, medians
from benchmarks.measure import aligned
from snapseed.config import Environment, Project, find_project
from snapseed.errors import SnapseedError
from snapseed.generate.generators import load_generators
from snapseed.generate.request import Request
from snapseed.generate.snapshot import generate_snapshot
from snapseed.load.request import LoadRequest, Mode
from snapseed.load.snapshot import load_snapshot
from snapseed.scaffold.names import kept_by
from snapseed.scaffold.project import ScaffoldRequest, scaffold_project
from snapseed.servers import EmbeddedPostgres
from snapseed.verify.database import verify_snapshot

_SCALES = (1, 50, 2_000)
_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^pg_'
   AND n.nspname NOT IN ('information_schema', 'snapseed')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
   -- A partitioned table without partitions cannot hold a row.
   AND (c.relkind = 'r' OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid))
 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Outcome:
    """What became of one schema. `failures` has what did not run through, by step and scale.

    `refused` are statements of the file that the server did not take, `kept` tables of migration tools that no other
    table needs.
    """

    name: str
    tables: int
    kept: int
    refused: int
    entities: int = 0
    seconds: float = 0.0
    left_out: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    failures: tuple[tuple[str, str], ...] = field(default=())

    @property
    def cells(self) -> tuple[str, ...]:
        """A line of the table."""
        failed = {step for step, _ in self.failures}
        steps = {step.partition(" ")[0]: 0 for step in self.steps}
        runs = [", ".join(step for step in self.steps if step in failed) or "yes"] if steps else ["-"]
        share = f"{100 * self.entities / max(1, self.tables - self.kept):.1f} %"
        each = f"{1000 * self.seconds / max(1, self.tables):.0f} ms"
        return (
            self.name,
            f"{self.tables:,}",
            f"{self.kept}",
            f"{self.entities:,}",
            share,
            f"{self.seconds:.1f} s",
            each,
            *runs,
        )


_HEADER = ("schema", "tables", "of tools", "entities", "share", "init", "per table", "runs through")


def try_schema(path: Path, server: str, psql: str, scales: Sequence[int], folder: Path) -> Outcome:
    """Make a database from a file, and a project from the database; generate, load, verify and upsert."""
    name = path.stem
    database = f"schema_{name.replace('-', '_')}"
    url = urlsplit(server)._replace(path=f"/{database}").geturl()
    identifier = sql.Identifier(database)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(identifier))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    try:
        said = subprocess.run([psql, "-qX", url, "-f", path], capture_output=True, text=True, check=False).stderr
        with psycopg.connect(url, autocommit=True) as connection:
            tables = [(schema, table) for schema, table in connection.execute(_TABLES).fetchall()]
            own = [table for table in tables if not kept_by(*table)]
            # Rows that migrations insert are another matter: here, each table is to get rows.
            names = sql.SQL(", ").join(sql.Identifier(*table) for table in own)
            connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(names))
            needed = _needed(connection, [table for table in tables if table not in own])
        outcome = Outcome(name, len(tables), len(tables) - len(own) - len(needed), said.count("ERROR:"))
        return _run(outcome, url, needed, scales, folder / name)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def compare(path: Path, server: str, psql: str, folder: Path) -> tuple[str, list[Likeness]]:
    """Generate rows for a database that holds rows, as many as these, into a copy without rows; compare both."""
    source, empty = f"real_{path.stem.replace('-', '_')}", f"like_{path.stem.replace('-', '_')}"
    urls = [urlsplit(server)._replace(path=f"/{database}").geturl() for database in (source, empty)]
    with psycopg.connect(server, autocommit=True) as connection:
        for database in (source, empty):
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(database)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(source)))
        subprocess.run([psql, "-qX", urls[0], "-f", path], capture_output=True, check=False)
        subprocess.run([psql, "-qX", urls[0], "-c", "ANALYZE"], capture_output=True, check=True)
        made = scaffold_project(ScaffoldRequest(urls[0], include_filled=True))
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(empty), sql.Identifier(source))
        )
    _write(made.files, folder / path.stem)
    project = find_project(folder / path.stem)
    counted = next(
        entity
        for entity in load_generators(project.generators).entities.values()
        if entity.parent is None and entity.root_rows.fixed is None and entity.root_rows.fraction == 1
    )
    with psycopg.connect(urls[0], autocommit=True) as connection:
        table = sql.Identifier(*filter(None, (counted.schema, counted.table)))
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
    assert row is not None
    generate_snapshot(project, Request("dev", project.seed, row[0]))
    environment = project.environment("dev").changed(database=urls[1])
    load_snapshot(project, environment, LoadRequest(consent=True))
    return path.stem, compared(*urls)


def _write(files: Mapping[str, str], folder: Path) -> None:
    for file, text in files.items():
        place = folder / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def _needed(connection: psycopg.Connection, tables: Sequence[tuple[str, str]]) -> list[str]:
    """The tables of tools that others refer to, if they hold rows: init says to keep these."""
    query = """SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = {}::regclass)
                  AND EXISTS (TABLE {})"""
    found = []
    for table in tables:
        name = sql.Identifier(*table)
        literal = sql.Literal(name.as_string(connection))
        if connection.execute(sql.SQL(query).format(literal, name)).fetchone() == (True,):
            found.append(".".join(table))
    return found


def _run(outcome: Outcome, url: str, keep_rows: Sequence[str], scales: Sequence[int], folder: Path) -> Outcome:
    started = time.perf_counter()
    try:
        made = scaffold_project(ScaffoldRequest(url, keep_rows))
    except Exception as exc:  # noqa: BLE001 - a crash is a finding
        return replace(outcome, steps=("init",), failures=(("init", _told(exc)),))
    outcome = replace(
        outcome,
        entities=sum(path.endswith(".py") and not path.endswith("/words.py") for path in made.files),
        seconds=time.perf_counter() - started,
        left_out=tuple(remark for remark in made.remarks if remark.startswith("left out")),
    )
    _write(made.files, folder)
    project = find_project(folder)
    environment = project.environment("dev")
    for scale in scales:
        steps: dict[str, Callable[[], object]] = {
            "generate": partial(generate_snapshot, project, Request("dev", project.seed, scale)),
            "load": partial(load_snapshot, project, environment, LoadRequest(consent=True)),
            "verify": partial(_verify, project, environment),
            "upsert": partial(load_snapshot, project, environment, LoadRequest(mode=Mode.UPSERT, consent=True)),
        }
        for step, action in steps.items():
            outcome = replace(outcome, steps=(*outcome.steps, f"{step} {scale}"))
            try:
                action()
            except Exception as exc:  # noqa: BLE001 - a crash is a finding
                outcome = replace(outcome, failures=(*outcome.failures, (f"{step} {scale}", _told(exc))))
                if step != "upsert":
                    break
    return outcome


def _verify(project: Project, environment: Environment) -> None:
    report = verify_snapshot(project, environment)
    if not report.agrees:
        raise SnapseedError("verify found differences", observed=str(report)[:2_000])


def _told(exc: Exception) -> str:
    if not isinstance(exc, SnapseedError):
        return repr(exc)
    parts = {"": exc.summary, "where": exc.where, "observed": exc.observed, "expected": exc.expected}
    return "; ".join(f"{name} {part}".strip() for name, part in parts.items() if part)


def _show_likeness(found: Sequence[tuple[str, list[Likeness]]]) -> None:
    """A table of median distances, and all columns by their distance."""
    kinds = sorted({item.kind for _, items in found for item in items})
    lines = []
    for name, items in found:
        median = medians(items)
        nulls = statistics.median(abs(item.nulls[0] - item.nulls[1]) for item in items)
        distinct = statistics.median(min(item.distinct) / max(1, *item.distinct) for item in items)
        cells = [f"{median[kind]:.3f}" if kind in median else "-" for kind in (*kinds, "all")]
        lines.append((name, f"{len(items)}", *cells, f"{nulls:.3f}", f"{distinct:.2f}"))
    print(aligned(("schema", "columns", *kinds, "all", "NULL", "distinct"), lines))
    for name, items in found:
        for item in sorted(items, key=lambda item: -item.distance):
            print(
                f"{name}: {item.distance:.3f} {item.kind}: {item.column}: NULL {item.nulls}, distinct {item.distinct}"
            )
            if item.ranges[0]:
                print(f"    {item.ranges[0]} | {item.ranges[1]}")


def main() -> None:
    """Try each schema in a process of its own, and print the table, what was left out, and what failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder with NAME.sql for each schema")
    parser.add_argument("names", nargs="*", help="only these (default: all)")
    parser.add_argument(
        "--server", help="the URL of a superuser's server (default: an embedded one, without extensions)"
    )
    parser.add_argument("--scales", type=int, nargs="*", default=_SCALES, help="default: 1 50 2000")
    parser.add_argument("--likeness", action="store_true", help="compare generated rows with those of the files")
    parser.add_argument("--keep", type=Path, help="keep the projects in this folder")
    options = parser.parse_args()
    paths = [path for path in sorted(options.folder.glob("*.sql")) if not options.names or path.stem in options.names]
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="snapseed-schemas-") as temporary:
        embedded = EmbeddedPostgres(Path(temporary))
        if not options.server:
            embedded.start()
        server = options.server or embedded.url("postgres")
        place = options.keep or Path(temporary)
        try:
            if options.likeness:
                _show_likeness([compare(path, server, str(embedded.psql()), place) for path in paths])
                return
            for path in paths:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    task = pool.submit(try_schema, path, server, str(embedded.psql()), options.scales, place)
                    outcomes.append(task.result())
                print(json.dumps(outcomes[-1].cells), file=sys.stderr, flush=True)
        finally:
            if not options.server:
                embedded.stop()
    print(aligned(_HEADER, [outcome.cells for outcome in outcomes]))
    for outcome in outcomes:
        for line in outcome.left_out:
            print(f"{outcome.name}: {line}")
        for step, text in outcome.failures:
            print(f"{outcome.name}: {step}: {text}")


if __name__ == "__main__":
    main()
