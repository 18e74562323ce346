"""A worker writes exactly the right rows, whatever it is given and however often."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import psycopg
import pytest

from snapseed import HashingEmbedder, load_snapshot, verify_snapshot
from snapseed.embeddings.embedder import Embedder
from snapseed.embeddings.enqueue import completeness, enqueue_incomplete, enqueue_load
from snapseed.embeddings.service import ServiceOptions, WorkerFailed, run_workers
from snapseed.embeddings.worker import Pace, Worker
from snapseed.errors import EmbedderAwayError, LoadError, SchemaError, ServerError, SnapseedError
from snapseed.events import Event
from tests.conftest import Sandbox
from tests.embeddings.conftest import Post
from tests.projects.own_valkey import OwnValkey
from tests.projects.state import generated, patiently

NONSENSE = [
    b"",
    b"\xff\x00",
    b"[" * 100_000,
    b"1" * 9_999,
    b"{}",
    b'{"keys": []}',
    b'{"keys": [null]}',
    b'{"keys": {"a": 1}}',
    b'{"keys": [true]}',
    b'{"keys": [1.5]}',
    b'{"keys": ["a\\u0000"]}',
    b'{"keys": ["\\ud800"]}',
]
FORMS = pytest.mark.parametrize("form", ["stream", "list"])


class Interrupted(HashingEmbedder):
    """An embedder during which something else happens."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def embed(self, texts: pl.Series) -> pl.Series:
        """The built-in embedder's vectors, after what else happens."""
        self._meanwhile()
        return super().embed(texts)


def worker_of(post: Post, embedder: Embedder | None = None) -> None:
    """Drain the queue with one worker in this process, which does not come back after a failure."""
    with post.session() as session:
        source = replace(session.source, embedder=embedder or session.source.embedder)
        Worker(replace(session, source=source), post.told).run(drain=True)


def dead_of(post: Post) -> list[tuple[bytes, str]]:
    """The dead jobs and their errors."""
    with post.session() as session:
        assert (session.queue.status().waiting, session.queue.status().in_flight) == (0, 0)
        return [(job.payload, job.error) for job in session.queue.dead(100)]


@FORMS
@pytest.mark.parametrize(
    "payload", [None, '{class = "Embed", args = ["{key}", "{model}"], at = {snapshot = "{snapshot}"}}']
)
def test_the_rows_are_right(post: Post, form: str, payload: str | None) -> None:
    """Each chunk of each letter has its vector, with both forms of the queue and with an application's own jobs."""
    post.configure(queue=repr(form), **({"payload": payload} if payload else {}))
    assert post.load() == 40
    assert post.parts() == []
    post.drain()
    assert len(post.expected()) > 60
    assert post.parts() == post.expected()
    assert sum(batch.jobs for batch in post.batches) == 40
    assert sum(batch.rows for batch in post.batches) == len(post.expected())
    with post.session() as session:
        assert completeness(session.connection, session.source).findings() == []


def test_jobs_delivered_twice_change_nothing(post: Post) -> None:
    """Neither in one batch nor in a later one; no row is written again."""
    post.load()
    with post.session() as session:
        assert enqueue_incomplete(session) == 40
    post.drain()
    post.put_keys(1, 1, 2)
    post.put(b'{"keys": ["1", 2, "2"]}')
    rows = post.execute("SELECT id, xmin::text FROM parts ORDER BY 1")
    post.drain()
    assert post.execute("SELECT id, xmin::text FROM parts ORDER BY 1") == rows
    assert post.batches[-1].rows == 0
    assert post.parts() == post.expected()


def test_a_changed_text_gets_its_new_chunks(post: Post) -> None:
    """Other vectors, more chunks, and fewer."""
    post.load()
    post.drain()
    post.execute("UPDATE letters SET body = repeat('new ', 200) || id WHERE id = 3")
    post.execute("UPDATE letters SET body = 'short' WHERE id = 4")
    post.execute("UPDATE letters SET body = NULL WHERE id = 5")
    post.put_keys(3, 4, 5)
    post.drain()
    assert post.parts() == post.expected()


def test_a_deleted_text_is_skipped(post: Post) -> None:
    """Its jobs are done, and counted as skipped."""
    post.load()
    post.execute("DELETE FROM letters WHERE id <= 3")
    post.drain()
    assert dead_of(post) == []
    assert sum(batch.skipped for batch in post.batches) == 3
    assert post.parts() == post.expected()


@pytest.mark.parametrize("times", [1, 5])
def test_a_text_that_changes_while_it_is_embedded_is_embedded_again(post: Post, times: int) -> None:
    """Nobody has to wait for the embedder; but a text that changes again and again is locked in the end."""
    post.load()
    post.execute("DELETE FROM letters WHERE id > 10")
    changed: list[int] = []
    refused: list[Exception] = []

    def meanwhile() -> None:
        if len(changed) + len(refused) < times:
            try:
                post.execute("SET lock_timeout = '50ms'; UPDATE letters SET body = body || ' now' WHERE id = 1")
                changed.append(1)
            except psycopg.errors.LockNotAvailable as exc:
                refused.append(exc)

    worker_of(post, Interrupted(meanwhile))
    assert (len(changed), bool(refused)) == ((1, False) if times == 1 else (3, True))
    assert post.parts() == post.expected()


def test_a_text_that_is_deleted_while_it_is_embedded_leaves_nothing(post: Post) -> None:
    """As if it had been deleted before."""
    post.load()
    worker_of(post, Interrupted(lambda: post.execute("DELETE FROM letters WHERE id = 1")))
    assert sum(batch.skipped for batch in post.batches) == 1
    assert post.parts() == post.expected()


def test_no_transaction_is_open_while_a_model_works(post: Post) -> None:
    """A server that ends idle transactions does not end a worker."""
    post.configure(embedder="'embedders:Slow'")
    post.load()
    post.execute("DELETE FROM letters WHERE id > 3")
    post.execute("ALTER ROLE CURRENT_USER SET idle_in_transaction_session_timeout = '500ms'")
    try:
        worker_of(post)
    finally:
        post.execute("ALTER ROLE CURRENT_USER RESET idle_in_transaction_session_timeout")
    assert post.parts() == post.expected()


def test_a_worker_with_a_long_batch_keeps_its_jobs(post: Post) -> None:
    """Nobody takes it for dead."""
    post.configure(embedder="'embedders:Slowest'", claim_after="'2s'")
    load_snapshot(post.sandbox.project, post.environment())
    post.execute("DELETE FROM letters WHERE id > 10")
    assert enqueue_load(post.sandbox.project, post.environment()) == 10
    thread = threading.Thread(target=post.drain)
    with post.session() as session:
        thread.start()
        patiently(lambda: session.queue.status().in_flight == 10)
        while not post.batches:
            assert session.queue.claim("other", 1, 0.1) == []
        session.queue.leave("other")
    thread.join()
    assert post.parts() == post.expected()


@FORMS
def test_nonsense_dies_at_once(post: Post, form: str) -> None:
    """Whatever bytes it is; the jobs are done."""
    post.configure(queue=repr(form))
    post.load()
    post.put(*NONSENSE)
    post.drain()
    assert sorted(payload for payload, _ in dead_of(post)) == sorted(NONSENSE)
    assert post.parts() == post.expected()
    assert sum(batch.dead for batch in post.batches) == len(NONSENSE)


def test_a_foreign_entry_is_kept_for_people(post: Post) -> None:
    """An entry of the stream without a job."""
    post.load()
    with post.session() as session:
        session.queue._client.xadd(session.queue._jobs, {"task": "other"})
    post.drain()
    ((payload, error),) = dead_of(post)
    assert b"other" in payload
    assert "not a job" in error


@FORMS
def test_a_job_that_the_database_refuses_dies_alone(post: Post, form: str) -> None:
    """After its tries, with the database's message; the rest of its batch is written."""
    post.configure(queue=repr(form), tries=3)
    post.load()
    post.put_keys("no number")
    post.put_keys(9**30)
    post.drain()
    dead = dict(dead_of(post))
    assert len(dead) == 2
    assert "invalid input syntax for type bigint" in dead[b'{"keys": ["no number"]}']
    assert "out of range" in dead[b'{"keys": ["%d"]}' % 9**30]
    assert post.parts() == post.expected()


@FORMS
def test_a_text_that_cannot_be_embedded_dies_alone(post: Post, form: str) -> None:
    """The others have their vectors."""
    post.configure(queue=repr(form), embedder="'embedders:Picky'", tries=2)
    post.load()
    post.execute("UPDATE letters SET body = 'a poison' WHERE id = 7")
    post.drain()
    ((payload, error),) = dead_of(post)
    assert json.loads(payload)["keys"] == ["7"]
    assert "that is poison" in error
    post.execute("DELETE FROM letters WHERE id = 7")
    right = post.expected(embedder_of(post))
    assert post.parts("vowels") == right


def embedder_of(post: Post) -> Embedder:
    """The embedder that the project names."""
    with post.session() as session:
        return session.source.embedder


@pytest.mark.parametrize(
    ("embedder", "said"), [("TooFew", "vectors of 5 numbers"), ("TooShort", "InvalidOperationError")]
)
def test_vectors_of_a_wrong_shape_are_refused(post: Post, embedder: str, said: str) -> None:
    """Too few or too short ones. No job is to blame, and none dies."""
    post.configure(embedder=f"'embedders:{embedder}'", tries=1)
    post.load()
    with pytest.raises(EmbedderAwayError, match=said):
        worker_of(post)
    with post.session() as session:
        claims = [*session.queue.claim("b", 100, 0.01), *session.queue.claim("b", 100, 0.01)]
        assert [claim.deliveries for claim in claims] == [1] * 40
    assert post.parts("vowels") == []


def test_a_model_that_is_away_is_waited_for(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes, no job dies."""
    monkeypatch.chdir(post.folder)
    post.configure(embedder="'embedders:Down'", tries=2)
    post.load()
    failures: list[SnapseedError] = []

    def told(event: Event) -> None:
        if isinstance(event, WorkerFailed):
            failures.append(event.error)

    thread = threading.Thread(
        target=run_workers, args=(post.sandbox.project, post.environment(), ServiceOptions(drain=True), told)
    )
    thread.start()
    patiently(lambda: len(failures) > 3)
    Path("up").touch()
    thread.join()
    assert all("no model today" in str(error) for error in failures)
    assert dead_of(post) == []
    assert post.parts("vowels") == post.expected(embedder_of(post))


def test_batches_shrink_if_the_work_is_slow(post: Post) -> None:
    """The first is small. The next one is smaller if the first took too long."""
    post.configure(embedder="'embedders:Slow'")
    post.load()
    post.execute("DELETE FROM letters WHERE id > 20")
    post.drain()
    assert post.batches[0].jobs == 16
    assert post.batches[1].jobs < 16


def test_no_job_is_to_blame_for_a_missing_table(post: Post) -> None:
    """The worker ends with the error. All jobs are still there, and the delivery does not count."""
    post.load()
    with post.session() as session:
        worker = Worker(session, post.then("ALTER TABLE parts RENAME TO elsewhere"))
        with pytest.raises(LoadError, match="refused"):
            worker.run()
        assert session.queue.status().waiting + session.queue.status().in_flight == 24
        assert {claim.deliveries for claim in session.queue.claim("b", 100, 0.01)} == {1}


def test_no_job_is_to_blame_for_a_lost_connection(post: Post) -> None:
    """The worker's jobs go back, and the next worker does them."""
    post.load()
    end = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE application_name LIKE 'snapseed%' AND datname = current_database()"""
    with post.session() as session:
        worker = Worker(session, post.then(end))
        with pytest.raises(ServerError):
            worker.run()
    with post.session() as session:
        assert {claim.deliveries for claim in session.queue.claim("b", 100, 0.01)} == {1}
        session.queue.leave("b")
    post.drain()
    assert post.parts() == post.expected()


@FORMS
def test_a_draining_worker_waits_for_the_jobs_of_a_silent_one(post: Post, form: str) -> None:
    """And does them."""
    post.configure(queue=repr(form), claim_after="'2s'")
    post.load()
    with post.session() as session:
        assert len(session.queue.claim("dead", 30, 0.01)) == 30
    post.drain()
    assert post.parts() == post.expected()
    with post.session() as session:
        assert session.queue.status().workers == 0


def test_the_target_needs_a_unique_index(post: Post) -> None:
    """The error says which statement makes it."""
    post.load()
    post.execute("ALTER TABLE parts DROP CONSTRAINT parts_made_by_letter_part_key")
    with pytest.raises(SchemaError) as caught:
        worker_of(post)
    assert caught.value.next_step == "ALTER TABLE public.parts ADD UNIQUE (letter, part, made_by);"
    post.execute(str(caught.value.next_step))
    worker_of(post)
    assert post.parts() == post.expected()


@pytest.mark.parametrize(("default", "used"), [("off", "on"), ("local", "local")])
def test_commits_are_on_the_disk_before_jobs_are_done(post: Post, default: str, used: str) -> None:
    """Even if the server's default is `off`. Other settings of synchronous_commit stay."""
    post.load()
    with post.session() as session:
        session.connection.execute(f"SET synchronous_commit = {default}".encode())
        Worker(session).run(drain=True)
        assert session.connection.execute("SHOW synchronous_commit").fetchone() == (used,)


def test_missing_tables_are_named(post: Post) -> None:
    """Before any job is taken."""
    with pytest.raises(SchemaError, match="missing"):
        worker_of(post)


@pytest.mark.parametrize("extension", ["vector", "no such"])
@pytest.mark.usefixtures("valkey")
def test_the_vectors_of_the_example_are_those_of_its_snapshot(
    make_project: Callable[[str], Sandbox], valkey_server: OwnValkey, extension: str
) -> None:
    """Bit for bit, keys included, whether the column is a vector or, without pgvector, an array."""
    sandbox = make_project("example")
    schema, file = sandbox.folder / "generators" / "schema.sql", sandbox.folder / "snapseed.toml"
    schema.write_text(schema.read_text().replace("name = 'vector'", f"name = '{extension}'"))
    file.write_text(file.read_text().replace('queue]\nsnapshot = "ci"', 'queue]\nsnapshot = "dev"'))
    project, environment = generated(sandbox, 40).project, sandbox.environment("queue", redis=valkey_server.url)
    load_snapshot(project, environment)
    with sandbox.connect() as connection:
        assert connection.execute("SELECT count(*) FROM embeddings").fetchone() == (0,)
    assert (enqueue_load(project, environment) or 0) > 20
    run_workers(project, environment, ServiceOptions(drain=True))
    assert verify_snapshot(project, environment).agrees


def settled(fixed: float, each: float, batches: int = 20) -> list[int]:
    """The sizes of batches that cost `fixed` seconds each, and `each` seconds for each job."""
    pace, sizes = Pace(), []
    for _ in range(batches):
        sizes.append(pace.size)
        pace = pace.after(pace.size, fixed + each * pace.size)
    return sizes


@pytest.mark.parametrize(
    ("fixed", "each", "size"),
    [
        (0.0, 0.1, 10),  # a slow model
        (0.0, 0.001, 1000),
        (0.0, 5.0, 1),  # one that is slower than a batch should be
        (0.5, 0.01, 50),
        (3.0, 0.01, 300),  # a remote one: fewer jobs would not be faster
        (3.0, 0.0, 2048),
        (0.01, 0.00001, 2048),  # a fast one: as many as a batch may have
    ],
)
def test_a_batch_takes_a_second_or_twice_what_it_costs_by_itself(fixed: float, each: float, size: int) -> None:
    """Whatever the first one took."""
    assert settled(fixed, each)[-1] == pytest.approx(size, rel=0.05)


def test_it_grows_in_steps() -> None:
    """The first batch is small, and each one is at most eight times as large as the one before."""
    assert settled(0.0, 0.0001, 4) == [16, 128, 1024, 2048]


def test_a_moment_of_slowness_is_forgotten() -> None:
    """Once the next batches are as fast as those before."""
    pace = Pace()
    for _ in range(5):
        pace = pace.after(pace.size, 0.001 * pace.size)
    pace = pace.after(pace.size, 30.0)
    for _ in range(5):
        pace = pace.after(pace.size, 0.001 * pace.size)
    assert pace.size == pytest.approx(1000, rel=0.1)


def test_batches_of_one_size_keep_what_is_known() -> None:
    """Small differences in size say nothing about the fixed cost of a batch."""
    pace = Pace()
    for jobs in (16, 200, 210, 205):
        pace = pace.after(jobs, 2.0 + 0.01 * jobs)
    assert pace.size == pytest.approx(200, rel=0.05)
