"""Published schemas: what `init --from-database` makes of them, and whether it runs through without an edit.

`python -m benchmarks.schemas FOLDER [NAME ...]` takes a folder with one SQL file for each schema. `schemas.toml` lists
those of the report, and where they come from; the files themselves are not in this repository.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from benchmarks.measure import aligned
from snapseed.config import Environment, Project, find_project
from snapseed.errors import SnapseedError
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
 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Outcome:
    """What became of one schema. `failures` has what did not run through, by step and scale.

    `refused` are statements of the file that the server did not take, `kept` tables of migration tools.
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
        outcome = Outcome(name, len(tables), len(tables) - len(own), said.count("ERROR:"))
        return _run(outcome, url, scales, folder / name)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def _run(outcome: Outcome, url: str, scales: Sequence[int], folder: Path) -> Outcome:
    started = time.perf_counter()
    try:
        made = scaffold_project(ScaffoldRequest(url))
    except Exception as exc:  # noqa: BLE001 - a crash is a finding
        return replace(outcome, steps=("init",), failures=(("init", _told(exc)),))
    outcome = replace(
        outcome,
        entities=made.tables,
        seconds=time.perf_counter() - started,
        left_out=tuple(remark for remark in made.remarks if remark.startswith("left out")),
    )
    for file, text in made.files.items():
        place = folder / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
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


def main() -> None:
    """Try each schema in a process of its own, and print the table, what was left out, and what failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder with NAME.sql for each schema")
    parser.add_argument("names", nargs="*", help="only these (default: all)")
    parser.add_argument(
        "--server", help="the URL of a superuser's server (default: an embedded one, without extensions)"
    )
    parser.add_argument("--scales", type=int, nargs="*", default=_SCALES, help="default: 1 50 2000")
    parser.add_argument("--keep", type=Path, help="keep the projects in this folder")
    options = parser.parse_args()
    paths = [path for path in sorted(options.folder.glob("*.sql")) if not options.names or path.stem in options.names]
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="snapseed-schemas-") as temporary:
        embedded = EmbeddedPostgres(Path(temporary))
        if not options.server:
            embedded.start()
        server = options.server or embedded.url("postgres")
        try:
            for path in paths:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    place = options.keep or Path(temporary)
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
