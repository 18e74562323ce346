"""Kill every command at random moments, and check what it leaves: `make stress-kills`.

A script, not a test. Each kill is a SIGKILL, SIGTERM or SIGINT, to the process or to its whole group as a terminal
does it, at a moment drawn from the time of an undisturbed run. Afterwards the old state or the new one must be there,
whole; nothing may still run; and the same command must succeed and leave no litter. Prints a table; exit code 1 if a
check failed. The seed repeats a draw.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapseed import LoadRequest, load_snapshot, open_snapshot, save_state
from snapseed.__main__ import main as run_command_line
from snapseed.embeddings.enqueue import completeness, enqueue_load
from snapseed.servers import EmbeddedPostgres
from snapseed.testing.server import state_name
from snapseed.verify.files import verify_files
from tests.command_line import CONTEXT
from tests.conftest import PROJECTS, Sandbox
from tests.embeddings.conftest import Post
from tests.load.partitions.test_faults import by_hash
from tests.load.shapes import Shapes
from tests.projects.own_server import own_server
from tests.projects.own_valkey import own_valkey
from tests.projects.state import generated, leftovers, patiently, schema_of, whole_state

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_PATIENCE_SECONDS = 120
# Before that Python itself is starting, and none of our code can say anything.
_PYTHON_SECONDS = 0.15
# So many of the processes import everything themselves.
_FRESH = 0.25
# Starting a server and running a test suite take longer than the others, which are drawn three times as often.
_WEIGHTS = {"db start": 1, "pytest": 1}
_EXAMPLE = PROJECTS.parent.parent / "examples" / "pytest"


@dataclass(frozen=True)
class Ended:
    """How a process ended, and all that it printed."""

    code: int
    said: str
    seconds: float


@dataclass(frozen=True)
class Victim:
    """A command, the exit codes it may end with when it is told to, and what must hold after it was killed.

    `before` returns the state that it starts from. `check` gets that state after a kill, says how things stand, and
    raises `AssertionError` if they are neither old nor new. `clean` raises where a next, undisturbed run left litter:
    of the same command, or of the one that can be run `afterwards` in any case.
    """

    command: tuple[str, ...]
    folder: Path
    variables: dict[str, str]
    before: Callable[[], object]
    check: Callable[[object], str]
    clean: Callable[[], None] = lambda: None
    module: str = "snapseed"
    codes: frozenset[int] = frozenset({130, 143, -signal.SIGINT, -signal.SIGTERM})
    afterwards: tuple[str, ...] = ()


@dataclass
class Result:
    """All kills of one command."""

    kills: int = 0
    late: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def run(
    victim: Victim, number: signal.Signals | None = None, moment: float = 0, *, group: bool = False, fresh: bool = False
) -> Ended:
    """Run the command, and send it a signal after so many seconds; then make sure that nothing of it still runs.

    A `fresh` process imports everything itself. The others are forked after that, and take a tenth of the time.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        started = time.monotonic()
        pid, wait = _start(victim, output, fresh=fresh or victim.module != "snapseed")
        if number is not None:
            wait(moment)
            with suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(pid, number)
        code = wait(_PATIENCE_SECONDS)
        seconds = time.monotonic() - started
        assert code is not None, f"still running after {_PATIENCE_SECONDS} s: {output.read_text()}"
        patiently(lambda: not _group_runs(pid))
        return Ended(code, output.read_text(), seconds)


def _start(victim: Victim, output: Path, *, fresh: bool) -> tuple[int, Callable[[float], int | None]]:
    """The id of the process, which leads a group, and a function that waits for its exit code."""
    environment = {**os.environ, **victim.variables}
    if not fresh:
        arguments = (victim.command, victim.folder, environment, output)
        forked = CONTEXT.Process(target=run_forked, args=arguments, daemon=False)
        forked.start()
        patiently(output.exists)

        def join(seconds: float) -> int | None:
            forked.join(seconds)
            return forked.exitcode

        assert forked.pid is not None
        return forked.pid, join
    command = [sys.executable, "-m", victim.module, *victim.command]
    with output.open("w") as stream:
        process = subprocess.Popen(
            command,
            cwd=victim.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            process_group=0,
        )

    def wait(seconds: float) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(seconds)
        return None

    return process.pid, wait


def run_forked(command: tuple[str, ...], folder: Path, environment: dict[str, str], output: Path) -> None:
    """What a forked process does: the command line, as its console script runs it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.setpgid(0, 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT, 0o600)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(descriptor, stream.fileno())
    sys.argv = ["snapseed", *command]
    run_command_line()


def _group_runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def kill_once(victim: Victim, seconds: dict[bool, float], dice: random.Random, result: Result) -> None:
    """Kill the command once, check, and run it once more. `seconds` is how long it takes, fresh or not."""
    number, group, fresh = dice.choice(SIGNALS), dice.random() < 1 / 2, dice.random() < _FRESH
    moment = dice.uniform(0, 1.05 * seconds[fresh])
    before = victim.before()
    place = f"{number.name}{' to its group' if group else ''} after {moment:.3f} of {seconds[fresh]:.3f} s"
    said = ""
    try:
        ended = run(victim, number, moment, group=group, fresh=fresh)
        said = ended.said
        result.kills += 1
        result.late += ended.code == 0 and victim.codes.isdisjoint({0})
        result.codes[str(ended.code)] += 1
        expected = {0, -number} if number is signal.SIGKILL else {0, *victim.codes}
        assert ended.code in expected, f"exit code {ended.code}"
        told = victim.module == "snapseed" and not (fresh and moment < _PYTHON_SECONDS)
        assert not (told and "Traceback" in said), "a traceback"
        result.outcomes[victim.check(before)] += 1
        ended = run(replace(victim, command=victim.afterwards or victim.command))
        said = ended.said
        assert ended.code == 0, f"the next run ended with {ended.code}"
        victim.clean()
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is a finding
        result.problems.append(f"{' '.join(victim.command)}: {place}: {type(exc).__name__}: {exc}\n{said}")
        say(f"FAILED: {result.problems[-1]}")
        with suppress(Exception):
            run(victim)


def database_victim(sandbox: Sandbox, *command: str, codes: frozenset[int] = Victim.codes) -> Victim:
    """A command that brings the shop's database to its snapshot: as it was, or as an undisturbed run leaves it."""
    variables = {"SNAPSEED_DATABASE": sandbox.url}

    def before() -> object:
        with sandbox.connect() as connection:
            connection.execute("UPDATE customers SET name = 'before'")
            connection.execute("SELECT setval('customers_id_seq', 4711)")
        return contents(sandbox.url)

    def check(old: object) -> str:
        assert leftovers(sandbox.url) == []
        found = contents(sandbox.url)
        assert found in (old, new), "neither old nor new"
        return "unchanged" if found == old else "done"

    victim = Victim(command, sandbox.folder, variables, before, check, lambda: no_clones(sandbox.url), codes=codes)
    # Twice: the first reset makes its template of rows as they were before.
    for _ in range(2):
        before()
        assert run(victim).code == 0
    new = contents(sandbox.url)
    return victim


def script_victim(sandbox: Sandbox) -> Victim:
    """The script of a repair: no file, or a whole one."""
    script = sandbox.folder / "repair.sql"

    def before() -> object:
        script.unlink(missing_ok=True)
        return None

    def check(_: object) -> str:
        if not script.exists():
            return "unchanged"
        assert script.read_bytes().endswith(b"\nCOMMIT;\n"), "half a script"
        script.unlink()
        return "done"

    def clean() -> None:
        assert [path.name for path in sandbox.folder.iterdir() if "repair" in path.name] == [script.name]

    with sandbox.connect() as connection:
        connection.execute("UPDATE customers SET name = 'before'")
    variables = {"SNAPSEED_DATABASE": sandbox.url}
    return Victim(("diff", "dev", "--repair", "--script", script.name), sandbox.folder, variables, before, check, clean)


def parallel_victim(sandbox: Sandbox) -> Victim:
    """A load over two connections into eight partitions. After the next load no staging tables are left."""
    command = ("load", "dev", "--only", "people", "--connections", "2", "--yes", "--quiet")

    def before() -> object:
        with sandbox.connect() as connection:
            connection.execute("UPDATE people SET name = 'before' WHERE id % 1000 = 0")
        return rows()

    def rows() -> object:
        with sandbox.connect() as connection:
            return connection.execute("SELECT count(*), sum(hashtextextended(p::text, 0)) FROM people p").fetchone()

    def check(old: object) -> str:
        assert leftovers(sandbox.url) == []
        found = rows()
        assert found in (old, new), "neither old nor new"
        return "unchanged" if found == old else "done"

    def clean() -> None:
        assert (rows(), schema_of(sandbox.url)) == (new, schema)

    new, schema = rows(), schema_of(sandbox.url)
    return Victim(command, sandbox.folder, {"SNAPSEED_DATABASE": sandbox.url}, before, check, clean)


def contents(url: str) -> dict[str, object]:
    """Rows and schema of a database. When a load ran is no part of it."""
    return {name: rows for name, rows in whole_state(url).items() if not name.startswith("snapseed.")}


def no_clones(url: str) -> None:
    """Raise `AssertionError` if a copy that a killed command has begun is still there."""
    with psycopg.connect(url) as connection:
        query = "SELECT datname FROM pg_database WHERE starts_with(datname, 'snapseed_clone_')"
        assert connection.execute(query).fetchall() == [], "databases were left"


def state_victim(sandbox: Sandbox, new: Callable[[object, object], tuple[object, object]], *command: str) -> Victim:
    """A command about the state `before`. `new`: what it makes of the contents of the database and of the state."""
    changes = itertools.count()

    def before() -> object:
        save_state(sandbox.project, sandbox.environment(), "before", consent=True)
        with sandbox.connect() as connection:
            connection.execute("UPDATE customers SET name = %s", [f"change {next(changes)}"])
        return look()

    def look() -> tuple[object, object]:
        return contents(sandbox.url), held()

    def held() -> object:
        """What is in the state: nobody can connect to it, so it is copied."""
        with psycopg.connect(make_conninfo(sandbox.url, dbname="postgres"), autocommit=True) as connection:
            role, database = connection.info.user, str(conninfo_to_dict(sandbox.url)["dbname"])
            place, copy = sql.Identifier(state_name(role, database, "before")), sql.Identifier("looked at")
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(copy))
            with suppress(psycopg.errors.InvalidCatalogName):
                connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(copy, place))
                return contents(make_conninfo(sandbox.url, dbname="looked at"))
        return None

    def check(old: Any) -> str:  # noqa: ANN401 - what `look` returned
        found = look()
        assert found in (old, new(*old)), "neither old nor new"
        return "unchanged" if found == old else "done"

    variables = {"SNAPSEED_DATABASE": sandbox.url}
    return Victim(command, sandbox.folder, variables, before, check, lambda: no_clones(sandbox.url))


def snapshot_victim(folder: Path, *command: str) -> Victim:
    """A snapshot, which a command replaces by another one each time: the old one, or the new one, whole."""
    snapshots = folder / "snapshots"
    sandbox = Sandbox(folder, "")

    def before() -> object:
        shutil.rmtree(snapshots, ignore_errors=True)
        shutil.copytree(old, snapshots)
        return None

    def check(_: object) -> str:
        opened = open_snapshot(snapshots, "dev")
        assert not verify_files(opened), "damaged files"
        return "unchanged" if opened.manifest.identity == identity else "done"

    def clean() -> None:
        assert sorted(path.name for path in snapshots.iterdir()) == ["dev"], sorted(snapshots.iterdir())

    old = folder / "old"
    generated(sandbox)
    identity = open_snapshot(snapshots, "dev").manifest.identity
    shutil.copytree(snapshots, old)
    return Victim(command, folder, {}, before, check, clean)


def start_victim(folder: Path) -> Victim:
    """The first start of an embedded server: no half-made data, and one server afterwards."""
    server = EmbeddedPostgres(folder)

    def before() -> object:
        server.stop()
        shutil.rmtree(server.state_directory, ignore_errors=True)
        return None

    def check(_: object) -> str:
        return "done" if server.is_running() else "unchanged"

    def clean() -> None:
        assert server.is_running()
        names = sorted(path.name for path in server.state_directory.iterdir())
        assert not [name for name in names if "initdb" in name or "incomplete" in name], names

    return Victim(("db", "start"), folder, {}, before, check, clean)


def pytest_victim(folder: Path, url: str) -> Victim:
    """A test suite on copies of a database: the next run drops those that it left."""

    def check(_: object) -> str:
        return "-"

    codes = frozenset({1, 2, 3, *Victim.codes})
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:faker", "-p", "no:hypothesispytest", "--tb=short")
    return Victim(options, folder, {"DATABASE_URL": url}, lambda: None, check, lambda: no_clones(url), "pytest", codes)


def worker_victim(post: Post) -> Victim:
    """A worker with a full queue: after the next one no text lacks its chunks, and no job is left."""

    def before() -> object:
        post.execute("UPDATE letters SET body = coalesce(body, '') || ' again' WHERE id % 2 = 0")
        keys = [key for (key,) in post.execute("SELECT id FROM letters WHERE id % 2 = 0")]
        post.put_keys(*keys)
        return None

    def check(_: object) -> str:
        return "-"

    def clean() -> None:
        with post.session() as session:
            status = session.queue.status()
            assert (status.waiting, status.in_flight, status.dead) == (0, 0, 0), status
            assert completeness(session.connection, session.source).findings() == []

    variables = {"SNAPSEED_DATABASE": post.sandbox.url, "SNAPSEED_REDIS": post.redis_url}
    # It ends after its batch, as it was told.
    codes = frozenset({0, *Victim.codes})
    return Victim(("worker", "dev", "--drain"), post.folder, variables, before, check, clean, codes=codes)


@contextmanager
def victims(only: list[str]) -> Iterator[dict[str, Victim]]:
    """All commands, on servers and in projects of their own."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="snapseed-kills-", dir="/tmp")))
        root.chmod(0o755)
        server = stack.enter_context(own_server(resource.RLIM_INFINITY))
        valkey = stack.enter_context(own_valkey())

        def project(name: str, source: Path) -> Path:
            return Path(shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__")))

        def shop(name: str) -> Sandbox:
            sandbox = generated(Sandbox(project(name, PROJECTS / "shop"), server.make_database(name)), 500)
            load_snapshot(sandbox.project, sandbox.environment())
            return sandbox

        def partitioned() -> Sandbox:
            folder = project("parallel", PROJECTS / "shapes")
            sandbox = Shapes(generated(Sandbox(folder, ""), 100_000).folder, server.make_database("parallel"))
            sandbox.create(by_hash(8))
            load_snapshot(sandbox.project, sandbox.environment(None, connections=2), LoadRequest(only=["people"]))
            return sandbox

        def letters() -> Post:
            folder = project("letters", PROJECTS / "letters")
            post = Post(generated(Sandbox(folder, server.make_database("letters")), 150), valkey.url)
            post.configure(claim_after="'2s'")
            load_snapshot(post.sandbox.project, post.environment())
            enqueue_load(post.sandbox.project, post.environment())
            return post

        def embedded() -> Path:
            folder = project("embedded", PROJECTS / "shop")
            stack.callback(EmbeddedPostgres(folder).stop)
            return folder

        made: dict[str, Callable[[], Victim]] = {
            "load": lambda: database_victim(shop("load"), "load", "dev", "--yes", "--quiet"),
            "parallel": lambda: parallel_victim(partitioned()),
            "upsert": lambda: database_victim(shop("upsert"), "load", "dev", "--mode", "upsert", "--yes", "--quiet"),
            "repair": lambda: database_victim(shop("repair"), "diff", "dev", "--repair", "--yes", "--quiet"),
            "script": lambda: script_victim(shop("script")),
            "ci": lambda: database_victim(shop("ci"), "ci", "dev", "--yes", "--quiet"),
            "reset": lambda: database_victim(shop("reset"), "reset", "dev", "--yes", "--quiet"),
            "save": lambda: state_victim(shop("save"), lambda own, _: (own, own), "save", "dev", "before", "--yes"),
            "states --delete": lambda: replace(
                state_victim(
                    shop("states"), lambda own, _: (own, None), "states", "dev", "--delete", "before", "--yes"
                ),
                afterwards=("save", "dev", "before", "--yes"),
            ),
            "reset NAME": lambda: state_victim(
                shop("reset_to"), lambda _, state: (state, state), "reset", "dev", "before", "--yes"
            ),
            "generate": lambda: snapshot_victim(
                project("generate", PROJECTS / "shop"),
                *("generate", "--seed", "99", "--scale", "15000", "--jobs", "2", "--quiet"),
            ),
            "capture": lambda: snapshot_victim(
                project("capture", PROJECTS / "shop"),
                *("capture", "--from", shop("captured").url, "--unmasked", "--jobs", "2", "--quiet"),
            ),
            "db start": lambda: start_victim(embedded()),
            "pytest": lambda: pytest_victim(project("suite", _EXAMPLE), server.make_database("suite")),
            "worker": lambda: worker_victim(letters()),
        }
        yield {name: make() for name, make in made.items() if not only or name in only}


def table(results: dict[str, Result]) -> str:
    """Count, exit codes and outcomes, one line per command."""
    lines = [f"\n{'command':<15} {'kills':>6} {'late':>5} {'failed':>6}  {'exit codes':<46} outcomes"]
    for name, result in results.items():
        codes, outcomes = (
            ", ".join(f"{count} × {what}" for what, count in counter.most_common())
            for counter in (result.codes, result.outcomes)
        )
        failed = len(result.problems)
        lines.append(f"{name:<15} {result.kills:>6} {result.late:>5} {failed:>6}  {codes:<46} {outcomes}")
    return "\n".join([*lines, ""])


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Kill the commands in turn until there were enough, and print the results."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.stress kills", description=(__doc__ or "").split("\n\n", maxsplit=1)[0]
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="repeats a draw")
    parser.add_argument("--kills", type=int, default=80, help="how many (default: 80)")
    parser.add_argument("--only", nargs="*", default=[], metavar="COMMAND", help="these alone, as the table names them")
    options = parser.parse_args()
    dice = random.Random(options.seed)  # noqa: S311 - no secrets are drawn here
    started = time.monotonic()
    with victims(options.only) as chosen:
        results = {name: Result() for name in chosen}
        measured: dict[str, dict[bool, float]] = {name: {} for name in chosen}
        for fresh, (name, victim) in itertools.product((True, False), chosen.items()):
            victim.before()
            ended = run(victim, fresh=fresh)
            assert ended.code == 0, f"{name}: {ended.said}"
            measured[name][fresh] = ended.seconds
        times = (f"{name} {seconds[True]:.1f} or {seconds[False]:.1f} s" for name, seconds in measured.items())
        say(f"seed {options.seed}: {', '.join(times)}")
        # Ctrl-C shows what was found until then.
        with suppress(KeyboardInterrupt):
            for number in range(options.kills):
                name = dice.choice([name for name in chosen for _ in range(_WEIGHTS.get(name, 3))])
                kill_once(chosen[name], measured[name], random.Random(dice.random()), results[name])  # noqa: S311 - as above
                if number % 20 == 0:
                    say(f"{number + 1} kills, {time.monotonic() - started:.0f} s")
    say(table(results))
    failed = sum(len(result.problems) for result in results.values())
    kills = sum(result.kills for result in results.values())
    say(f"{kills} kills, {failed} failed checks; {time.monotonic() - started:.0f} s, seed {options.seed}")
    return 1 if failed else 0
