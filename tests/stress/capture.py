"""Captures of a busy primary and of its standby: `make stress-capture`.

A script, not a test: it takes minutes. pgbench moves amounts all the time; the sums of accounts, tellers, branches and
history are equal in every capture, with one connection and with four, and so are those of a subset: some tellers and
their history. At the end the primary removes rows that a capture of the standby still needs. Exit code 1 if anything
was not as it should be.

`--published FOLDER` does something else: it captures and restores a database of each SQL file in a folder.
"""

from __future__ import annotations

import argparse
import os
import pwd
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pyarrow.compute as pc

from snapseed.capture.request import CaptureRequest, Sizes, subset_request
from snapseed.capture.snapshot import capture_snapshot
from snapseed.errors import ServerError
from snapseed.events import Advanced, Event
from snapseed.servers import EmbeddedPostgres
from snapseed.snapshot.store import open_snapshot
from tests.capture.conftest import Captured, difference, project_in, restored, state_of
from tests.projects.state import patiently
from tests.stress.run import say

# What pgbench adds to and takes from, by table.
_SUMS = {
    "pgbench_accounts": "abalance",
    "pgbench_tellers": "tbalance",
    "pgbench_branches": "bbalance",
    "pgbench_history": "delta",
}
_SUMS_OF_TELLERS = ("pgbench_tellers", "pgbench_history")
_SETTINGS = "fsync=off autovacuum=off max_wal_size=1GB"
# Whether a standby lets a capture finish, or what it has to replay.
_PATIENT = {"hot_standby_feedback": "on", "max_standby_streaming_delay": "10min"}
_IMPATIENT = {"hot_standby_feedback": "off", "max_standby_streaming_delay": "0"}


@dataclass(frozen=True)
class Cluster:
    """A server with its data and its socket in a folder. As root, it runs as `nobody`."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        """The database of pgbench, which is the maintenance database."""
        return f"postgresql://postgres@/postgres?host={self.folder}&port={self.port}"

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs."""
        command = [str(EmbeddedPostgres.find_program().with_name(program)), *arguments]
        user = "nobody" if os.getuid() == 0 else None
        subprocess.run(command, check=True, cwd="/", user=user, stdout=subprocess.DEVNULL, env={"LC_ALL": "C"})

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start it, and stop it at the end."""
        settings = " ".join(f"-c {setting}" for setting in _SETTINGS.split())
        options = f"-k {self.folder} -p {self.port} -c listen_addresses= {settings}"
        data = ("-D", str(self.folder / "data"))
        self.run("pg_ctl", "start", "-w", *data, "-l", str(self.folder / "log"), "-o", options)
        try:
            yield
        finally:
            self.run("pg_ctl", "stop", "-w", "-m", "fast", *data)

    def configure(self, settings: dict[str, str]) -> None:
        """Give the running server other settings."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name, value in settings.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")


def main() -> int:
    """Capture a primary and a standby while pgbench writes, and print what was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--captures", type=int, default=20, help="of each server, half of them with four jobs; and as many subsets"
    )
    parser.add_argument("--published", type=Path, metavar="FOLDER", help="capture a database of each SQL file instead")
    options = parser.parse_args()
    if options.published:
        problems = list(_published(sorted(options.published.glob("*.sql"))))
        say("\n".join([*problems, f"{len(problems)} problems"]))
        return 1 if problems else 0
    problems = []
    with ExitStack() as stack:
        primary, standby = (_cluster(stack, port) for port in (54_321, 54_322))
        primary.run("initdb", "-D", str(primary.folder / "data"), "-U", "postgres", "-E", "UTF8", "--no-sync")
        stack.enter_context(primary.running())
        primary.run("pgbench", "-q", "-i", "--foreign-keys", "-s", "3", primary.url)
        copy = ("-D", str(standby.folder / "data"), "-R", "-c", "fast", "-d", primary.url)
        standby.run("pg_basebackup", *copy)
        stack.enter_context(standby.running())
        standby.configure(_PATIENT)
        with _writing(primary):
            for name, cluster in (("primary", primary), ("standby", standby)):
                problems += [f"{name}: {found}" for found in _captures(stack, cluster, options.captures)]
        problems += _conflict(stack, primary, standby)
    for problem in problems:
        say(problem)
    say(f"{4 * options.captures} captures, {len(problems)} problems")
    return 1 if problems else 0


def _cluster(stack: ExitStack, port: int) -> Cluster:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="snapseed-capture-", dir="/tmp")))
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return Cluster(folder, port)


def _project(stack: ExitStack, cluster: Cluster) -> Captured:
    return project_in(Path(stack.enter_context(tempfile.TemporaryDirectory())), cluster.url)


@contextmanager
def _writing(primary: Cluster) -> Iterator[None]:
    """Let pgbench write, one run after the other."""
    done = threading.Event()

    def run() -> None:
        while not done.is_set():
            primary.run("pgbench", "-n", "-c", "4", "-T", "2", primary.url)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _captures(stack: ExitStack, cluster: Cluster, count: int) -> Iterator[str]:
    """What is wrong with captures while others write: each of another moment, and each consistent."""
    project, seen = _project(stack, cluster), set[str]()
    for number in range(count):
        jobs = 1 if number % 2 else 4
        request = CaptureRequest(jobs=jobs, unmasked=True, sizes=Sizes(part_rows=16_384))
        for subset, tables in ((None, _SUMS), (subset_request("pgbench_tellers", 5), _SUMS_OF_TELLERS)):
            manifest = project.capture(replace(request, subset=subset)).manifest
            seen.add(manifest.identity)
            snapshot = open_snapshot(project.project.snapshots, "dev")
            sums = {}
            for entity in manifest.entities:
                if entity.table in tables:
                    values = [batch.column(0) for batch in snapshot.batches(entity, [_SUMS[entity.table]])]
                    sums[entity.table] = sum(pc.sum(value).as_py() for value in values)
            say(f"  {jobs} jobs: {manifest.rows:,} rows, {sums}")
            if len(set(sums.values())) != 1:
                yield f"sums with {jobs} jobs: {sums}"
    if len(seen) < count:
        yield f"only {len(seen)} captures of {2 * count} that differ"


def _conflict(stack: ExitStack, primary: Cluster, standby: Cluster) -> Iterator[str]:
    """A standby that may not wait ends the capture, and the error says what to do about it."""
    standby.configure(_IMPATIENT)
    project, removed = _project(stack, standby), threading.Event()

    def listen(event: Event) -> None:
        if isinstance(event, Advanced) and not removed.is_set():
            removed.set()
            with psycopg.connect(primary.url, autocommit=True) as connection:
                connection.execute("UPDATE pgbench_accounts SET filler = 'again'")
                connection.execute("VACUUM pgbench_accounts")
                (position,) = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone() or ("",)
            with psycopg.connect(standby.url, autocommit=True) as connection:
                query = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
                patiently(lambda: connection.execute(query, [position]).fetchone() == (True,), required=False)

    environment = project.project.environment("dev", {"source": standby.url})
    try:
        capture_snapshot(project.project, environment, CaptureRequest(unmasked=True), listener=listen)
    except ServerError as exc:
        say(f"  {exc}")
        if "hot_standby_feedback" not in str(exc.next_step):
            yield f"no advice for a conflict with recovery: {exc}"
    else:
        yield "a conflict with recovery did not end the capture"


def _published(files: Sequence[Path]) -> Iterator[str]:
    """What is different in the copy of a database: by one connection or four, restored, verified, and dumped."""
    with tempfile.TemporaryDirectory(prefix="snapseed-capture-", dir="/tmp") as folder:
        server = EmbeddedPostgres(Path(folder))
        server.start()
        try:
            for path in files:
                names = path.stem, f"{path.stem} copy"
                for name in names:
                    server.ensure_database(name)
                url, copy = map(server.url, names)
                subprocess.run([server.psql(), "-qX", "-f", path, "-d", url], check=True, stdout=subprocess.DEVNULL)
                own = Path(folder) / path.stem
                own.mkdir()
                captured = project_in(own, url)
                one, four = (captured.capture(CaptureRequest(jobs=jobs)).manifest for jobs in (1, 4))
                report = restored(captured, copy)
                say(f"{path.stem}: {len(one.entities)} tables, {one.rows:,} rows, {one.bytes / 1e6:.1f} MB")
                if one.identity != four.identity or not report.verified:
                    yield f"{path.stem}: four jobs made another snapshot, or it was not verified"
                if found := difference(state_of(url), copy):
                    yield f"{path.stem}: {found}"
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
