"""Workers under fire, `make stress-embeddings`: 20,000 jobs during kill -9, restarts, losses, poison and nonsense.

A script, not a test: faults strike at different points each time, unless the seed is given. At the end every row is
counted and compared. Prints a table; exit code 1 if a row is missing, doubled or wrong.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import redis

from snapseed import load_snapshot
from snapseed.embeddings.enqueue import completeness, enqueue_incomplete, enqueue_load
from tests.conftest import PROJECTS, Sandbox
from tests.embeddings.conftest import Post
from tests.projects.own_server import OwnServer, own_server
from tests.projects.own_valkey import OwnValkey, own_valkey
from tests.projects.state import generated

WORKERS = 3
LOG = "stress-embeddings.log"
# Below this the queue gets more jobs, so that faults strike busy workers.
_FEW_JOBS = 1_500
_MORE_JOBS = 3_000
_PAUSE_SECONDS = (0.1, 0.8)
_DRAIN_SECONDS = 300
# A time far ahead, in milliseconds, for ids of a stream.
_FAR_AHEAD = 4_000_000_000_000

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["snapseed.cli.app", "snapseed.embeddings.service"])


@dataclass
class Field:
    """The servers, the project, the workers, and what was done so far."""

    post: Post
    postgres: OwnServer
    valkey: OwnValkey
    form: str
    dice: random.Random
    done: Counter[str] = field(default_factory=Counter)
    workers: list[ForkServerProcess] = field(default_factory=list)
    poison: set[int] = field(default_factory=set)
    nonsense: set[bytes] = field(default_factory=set)
    struck_at_work: int = 0
    put: int = 0

    @property
    def letters(self) -> int:
        """How many there are."""
        return int(str(self.post.execute("SELECT count(*) FROM letters")[0][0]))

    def start_workers(self, count: int = WORKERS, *options: str) -> None:
        """Start workers until there are this many."""
        self.workers = [worker for worker in self.workers if worker.is_alive()]
        while len(self.workers) < count:
            variables = {"SNAPSEED_DATABASE": self.post.sandbox.url, "SNAPSEED_REDIS": self.post.redis_url}
            process = _CONTEXT.Process(target=run_worker, args=(self.post.folder, variables, options), daemon=False)
            process.start()
            self.workers.append(process)

    def in_hand(self) -> int:
        """How many jobs are in progress."""
        with self.post.session() as session:
            return session.queue.status().in_flight

    def waiting(self) -> int:
        """How many jobs wait."""
        with self.post.session() as session:
            return session.queue.status().waiting

    def change_letters(self, count: int, body: str = "body || ' again'") -> list[int]:
        """Change some letters, and add jobs for them."""
        chosen = sorted(self.dice.sample(range(1, self.letters + 1), count))
        some = ",".join(map(str, chosen))
        self.post.execute(f"SET synchronous_commit = on; UPDATE letters SET body = {body} WHERE id IN ({some})")  # noqa: S608
        self.post.put_keys(*chosen)
        self.put += count
        return chosen


def run_worker(folder: Path, variables: dict[str, str], options: tuple[str, ...]) -> None:
    """The main function of a worker process: the command line, as its console script would run it."""
    os.chdir(folder)
    os.environ.update(variables)
    with (folder / "workers.log").open("ab", buffering=0) as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
    from snapseed.cli.app import main

    sys.argv = ["snapseed", "worker", "dev", *options]
    main()


def kill_a_worker(place: Field) -> None:
    """SIGKILL, at any moment."""
    place.struck_at_work += bool(place.in_hand())
    victim = place.dice.choice(place.workers)
    victim.kill()
    victim.join()


def restart_redis(place: Field) -> None:
    """SIGKILL for the server, which comes back with its data."""
    place.valkey.kill()
    time.sleep(place.dice.uniform(0, 1))
    place.valkey.start()


def lose_redis(place: Field) -> None:
    """Redis comes back without its data; `queue repair` adds jobs for what is missing."""
    place.valkey.kill()
    place.valkey.lose_data()
    place.valkey.start()
    # Nonsense is lost with it. So are the jobs of changed letters, which repair cannot see: add them.
    place.nonsense.clear()
    place.post.put_keys(*range(1, place.letters + 1))
    with place.post.session() as session:
        enqueue_incomplete(session)


def restart_postgres(place: Field) -> None:
    """It stops in immediate mode, and recovers."""
    place.postgres.stop_immediately()
    time.sleep(place.dice.uniform(0, 1))
    place.postgres.start()


def poison_a_text(place: Field) -> None:
    """The embedder fails for a letter."""
    place.poison.update(place.change_letters(1, "'poison'"))


def put_nonsense(place: Field) -> None:
    """Bytes that are not a job."""
    payload = (
        place.dice.choice([b"%d", b'{"keys": %d', b'{"key": "%d"}', b"\xff\x00%d", b'["%d"]']) % place.done.total()
    )
    place.post.put(payload)
    place.nonsense.add(payload)


def put_twice(place: Field) -> None:
    """Add jobs again that wait or were done."""
    place.post.put_keys(*place.dice.choices(range(1, place.letters + 1), k=100))
    place.put += 100


def jump_ahead(place: Field) -> None:
    """As if the clock of Redis had jumped: all workers seem to have been silent for long."""
    with place.post.session() as session, suppress(redis.ResponseError):
        client = session.queue._client
        if place.form == "list":
            for key in client.scan_iter("*:alive:*"):
                client.delete(key)
            return
        jobs = session.queue._jobs
        for entry in client.xpending_range(jobs, "workers", "-", "+", 5_000):
            # The holder stays the same.
            client.xclaim(jobs, "workers", entry["consumer"], 0, [entry["message_id"]], idle=2**31, justid=True)


def jobs_of_another_time(place: Field) -> None:
    """A job added by a clock that is far ahead; later jobs get ids after it."""
    key = place.dice.randrange(1, place.letters + 1)
    payload = b'{"keys": ["%d"]}' % key
    place.put += 1
    with place.post.session() as session:
        if place.form == "list":
            session.queue.put([payload])
            return
        ahead = _FAR_AHEAD + place.done.total()
        session.queue._client.xadd(session.queue._jobs, {"job": payload}, id=f"{ahead}-0")


FAULTS: dict[Callable[[Field], None], int] = {
    kill_a_worker: 60,
    restart_redis: 4,
    lose_redis: 2,
    restart_postgres: 4,
    poison_a_text: 15,
    put_nonsense: 20,
    put_twice: 10,
    jump_ahead: 8,
    jobs_of_another_time: 5,
}


@contextmanager
def prepared(letters: int, form: str, dice: random.Random) -> Iterator[Field]:
    """Servers, a project, and its jobs in the queue."""
    with (
        tempfile.TemporaryDirectory(prefix="snapseed-stress-") as temporary,
        own_server(resource.RLIM_INFINITY) as postgres,
        own_valkey() as valkey,
    ):
        folder = Path(temporary) / "letters"
        shutil.copytree(PROJECTS / "letters", folder, ignore=shutil.ignore_patterns("__pycache__"))
        post = Post(generated(Sandbox(folder, postgres.make_database("letters")), letters), valkey.url)
        post.configure(queue=repr(form), embedder="'embedders:Tired'", claim_after="'3s'")
        load_snapshot(post.sandbox.project, post.environment())
        postgres.flush()
        place = Field(post, postgres, valkey, form, dice)
        place.put = enqueue_load(post.sandbox.project, post.environment()) or 0
        try:
            yield place
        finally:
            for worker in place.workers:
                worker.kill()
                worker.join()


def fire(place: Field) -> None:
    """All faults in random order, while workers are working."""
    drawn = [fault for fault, count in FAULTS.items() for _ in range(count)]
    place.dice.shuffle(drawn)
    for fault in drawn:
        place.start_workers()
        time.sleep(place.dice.uniform(*_PAUSE_SECONDS))
        if place.waiting() < _FEW_JOBS:
            place.change_letters(_MORE_JOBS, "coalesce(body, '') || ' again'")
        fault(place)
        place.done[fault.__name__.replace("_", " ")] += 1


def settle(place: Field) -> float:
    """Let workers finish the queue; returns the seconds that it took."""
    started = time.monotonic()
    for worker in place.workers:
        worker.terminate()
        worker.join()
    with place.post.session() as session:
        enqueue_incomplete(session)
    place.start_workers(1, "--drain", "--concurrency", "2", "--quiet")
    place.workers[0].join(_DRAIN_SECONDS)
    if place.workers[0].exitcode != 0:
        keep_log(place)
        raise AssertionError(f"the drain ended with {place.workers[0].exitcode}, see {LOG}")
    return time.monotonic() - started


def keep_log(place: Field) -> None:
    """Keep the log of the workers."""
    shutil.copy(place.post.folder / "workers.log", LOG)


def counted(place: Field) -> tuple[dict[str, int], bool]:
    """The counts at the end, and whether they are right."""
    poison = ",".join(map(str, sorted(place.poison))) or "0"
    # Whether poisoned letters were embedded before they were poisoned is a matter of chance.
    place.post.execute(f"DELETE FROM parts WHERE letter IN ({poison}); DELETE FROM letters WHERE id IN ({poison})")  # noqa: S608
    found = place.post.parts("vowels")
    with place.post.session() as session:
        expected = place.post.expected(session.source.embedder)
        dead = [job.payload for job in session.queue.dead(100_000)]
        status, complete = session.queue.status(), completeness(session.connection, session.source)
    keys = Counter(row[:2] for row in found)
    right = {row[:2]: row for row in expected}
    innocent = [job for job in set(dead) - place.nonsense if not any(b'"%d"' % key in job for key in place.poison)]
    numbers = {
        "rows expected": len(expected),
        "rows found": len(found),
        "missing": len(right.keys() - keys.keys()),
        "doubled": sum(count > 1 for count in keys.values()),
        "wrong": sum(right.get(row[:2], row) != row for row in found),
        "orphans": complete.orphans + len(keys.keys() - right.keys()),
        "nonsense added since the last loss": len(place.nonsense),
        "of it not among the dead": len(place.nonsense - set(dead)),
        "letters poisoned": len(place.poison),
        "other jobs among the dead": len(innocent),
        "jobs left": status.waiting + status.in_flight,
    }
    wrong = ("missing", "doubled", "wrong", "orphans", "of it not among the dead", "jobs left")
    return numbers, not any(numbers[name] for name in wrong) and not complete.findings()


def table(title: str, numbers: dict[str, int]) -> str:
    """The numbers, a line each."""
    return "\n".join([f"\n{title}", *(f"  {name:<34} {number:>8,}" for name, number in numbers.items())])


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run each form of the queue, and print what was done and what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.stress.embeddings", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="repeats a draw")
    parser.add_argument("--letters", type=int, default=20_000, help="texts to begin with (default: 20,000)")
    parser.add_argument("--form", choices=["stream", "list"], nargs="*", default=["stream", "list"])
    options = parser.parse_args()
    all_right = True
    for form in options.form:
        started = time.monotonic()
        say(f"{form}, seed {options.seed}: {options.letters:,} letters")
        with prepared(options.letters, form, random.Random(options.seed)) as place:  # noqa: S311 - no secrets
            fire(place)
            seconds = settle(place)
            numbers, right = counted(place)
            say(
                table(
                    f"{form}: what was done",
                    {**place.done, "kills during a batch": place.struck_at_work, "jobs added": place.put},
                )
            )
            say(table(f"{form}: what there is", numbers))
            said = f"{time.monotonic() - started:.0f} s, {seconds:.0f} s of them after the last fault"
            say(f"  {'RIGHT' if right else 'WRONG'}: {said}\n")
            all_right = all_right and right
            if not right:
                keep_log(place)
    return 0 if all_right else 1


if __name__ == "__main__":
    sys.exit(main())
