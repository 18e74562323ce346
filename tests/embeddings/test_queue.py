"""Both forms of the queue deliver every job at least once and lose none; jobs can be read back, whatever they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from snapseed.embeddings.queue import JobQueue, NotAJobError, decode_job, encode_jobs, job_form
from snapseed.embeddings.queue_list import ListQueue
from snapseed.embeddings.queue_stream import GROUP, StreamQueue
from snapseed.errors import ConfigurationError
from snapseed.servers import EmbeddedRedis
from tests.projects.state import patiently

NAME = "snapseed:shop:dev"
KEY = f"{{{NAME}}}"
CLAIM_AFTER = 60


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    """A real server."""
    server = EmbeddedRedis(Path(tmp_path_factory.mktemp("queues")))
    server.start()
    with redis.Redis.from_url(server.url()) as client:
        yield client
    server.stop()


@pytest.fixture(params=[StreamQueue, ListQueue], ids=["stream", "list"])
def queue(valkey: redis.Redis, request: pytest.FixtureRequest) -> JobQueue:
    """An empty queue of each form."""
    valkey.flushdb()
    return request.param(valkey, NAME, CLAIM_AFTER)  # type: ignore[no-any-return]


def jobs(count: int) -> list[bytes]:
    """So many different jobs."""
    return [b"job %d" % number for number in range(count)]


def silence(client: Any, worker: str) -> None:  # noqa: ANN401 - the client's annotations are half asynchronous
    """Let Redis believe that this worker has been silent for longer than `claim_after`."""
    client.delete(f"{KEY}:alive:{worker}")
    if client.type(f"{KEY}:jobs") == b"stream":
        for entry in client.xpending_range(f"{KEY}:jobs", GROUP, "-", "+", 100, worker):
            idle = CLAIM_AFTER * 1000 + 1
            client.xclaim(f"{KEY}:jobs", GROUP, worker, 0, [entry["message_id"]], idle=idle, justid=True)


def test_jobs_are_claimed_in_their_order_and_gone_when_done(queue: JobQueue) -> None:
    """Once each; the counts follow."""
    queue.put(jobs(10))
    queue.put([])
    assert (queue.status().waiting, queue.status().in_flight) == (10, 0)
    first = queue.claim("a", 4, 0.01)
    assert [claim.payload for claim in first] == jobs(4)
    assert {claim.deliveries for claim in first} == {1}
    assert (queue.status().waiting, queue.status().in_flight) == (6, 4)
    queue.done("a", first)
    second = queue.claim("b", 100, 0.01)
    assert [claim.payload for claim in second] == jobs(10)[4:]
    queue.done("b", second)
    status = queue.status()
    assert (status.waiting, status.in_flight, status.dead, status.done) == (0, 0, 0, 10)
    assert status.is_empty
    assert queue.claim("a", 1, 0.01) == []
    queue.done("a", [])


def test_a_job_that_exists_several_times_leaves_nothing_in_progress(queue: JobQueue) -> None:
    """Claims are all different, and with them all copies are done: in one batch, and between two workers."""
    first, second, third = jobs(3)
    queue.put([first, second, first, third, first, second])
    claims = queue.claim("a", 5, 0.01)
    assert len(set(claims)) == len(claims)
    assert [claim.payload for claim in claims if claim.payload == third] == [third]
    rest = queue.claim("b", 5, 0.01)
    queue.done("a", claims)
    assert queue.status().in_flight == len(rest) == 1
    queue.done("b", rest)
    assert (queue.status().waiting, queue.status().in_flight) == (0, 0)


def test_a_worker_waits_at_an_empty_queue_until_a_job_comes(queue: JobQueue, valkey: redis.Redis) -> None:
    """Only if it wants to wait."""
    assert queue.claim("a", 1, 0) == []
    clients: Any = valkey

    def is_blocked() -> bool:
        return bool(clients.info("clients")["blocked_clients"])

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(queue.claim, "a", 2, 20)
        patiently(is_blocked)
        queue.put(jobs(1))
        assert [claim.payload for claim in waiting.result()] == jobs(1)


def test_jobs_of_a_silent_worker_go_to_others(queue: JobQueue, valkey: redis.Redis) -> None:
    """But not before `claim_after`; they know how often they were handed out."""
    queue.put(jobs(2))
    assert len(queue.claim("dead", 2, 0.01)) == 2
    assert queue.claim("a", 2, 0.01) == []
    silence(valkey, "dead")
    taken = queue.claim("a", 2, 0.01)
    assert sorted(claim.payload for claim in taken) == jobs(2)
    assert {claim.deliveries for claim in taken} == {2}


def test_a_worker_that_shows_itself_keeps_its_jobs(queue: JobQueue, valkey: redis.Redis) -> None:
    """However long it has been at them."""
    queue.put(jobs(1))
    queue.claim("a", 1, 0.01)
    silence(valkey, "a")
    queue.keep("a")
    assert queue.claim("b", 1, 0) == []
    queue.keep("c")


def test_released_jobs_are_claimed_again_at_once(queue: JobQueue) -> None:
    """By any worker."""
    queue.put(jobs(2))
    claims = queue.claim("a", 2, 0.01)
    queue.release("a", claims[:1], tried=True)
    queue.done("a", claims[1:])
    (again,) = queue.claim("b", 2, 0.01)
    assert (again.payload, again.deliveries) == (b"job 0", 2)


def test_a_delivery_does_not_count_if_nothing_was_tried(queue: JobQueue) -> None:
    """However often; and the order stays."""
    queue.put(jobs(3))
    for _ in range(10):
        claims = queue.claim("a", 3, 0.01)
        assert [claim.payload for claim in claims] == jobs(3)
        queue.release("a", claims, tried=False)
    queue.release("a", queue.claim("a", 1, 0.01), tried=True)
    deliveries = {claim.payload: claim.deliveries for claim in queue.claim("b", 3, 0.01)}
    assert deliveries == {b"job 0": 2, b"job 1": 1, b"job 2": 1}


def test_a_worker_that_leaves_gives_back_what_it_holds(queue: JobQueue) -> None:
    """At once, as if nobody had tried it; and the worker is no longer counted."""
    queue.put(jobs(3))
    queue.claim("a", 3, 0.01)
    queue.leave("a")
    claims = queue.claim("b", 3, 0.01)
    assert sorted(claim.payload for claim in claims) == jobs(3)
    assert [claim.deliveries for claim in claims] == [1, 1, 1]


def test_the_dead_are_kept_with_their_error_until_they_are_tried_again(queue: JobQueue) -> None:
    """Whatever bytes a job has."""
    poison = b"\xff\x00 no text"
    queue.put([poison, *jobs(1)])
    first, second = queue.claim("a", 2, 0.01)
    queue.bury("a", first, "makes no sense: \xfc")
    queue.done("a", [second])
    assert (queue.status().dead, queue.status().in_flight) == (1, 0)
    (dead,) = queue.dead(10)
    assert (dead.payload, dead.error, dead.deliveries) == (poison, "makes no sense: \xfc", 1)
    assert queue.retry() == 1
    assert queue.retry() == 0
    assert [claim.payload for claim in queue.claim("a", 2, 0.01)] == [poison]


def test_a_queue_that_was_flushed_starts_again(queue: JobQueue, valkey: redis.Redis) -> None:
    """Empty, in the middle of work."""
    queue.put(jobs(2))
    claims = queue.claim("a", 1, 0.01)
    valkey.flushdb()
    queue.release("a", claims, tried=True)
    valkey.flushdb()
    queue.leave("a")
    assert queue.status().workers == 0
    queue.done("a", claims)
    assert queue.claim("a", 1, 0.01) == []
    queue.put(jobs(1))
    assert [claim.payload for claim in queue.claim("a", 1, 0.01)] == jobs(1)


def test_purging_removes_everything(queue: JobQueue) -> None:
    """Jobs that wait, are in progress, and dead."""
    queue.put(jobs(5))
    first, _ = queue.claim("a", 2, 0.01)
    queue.bury("a", first, "no")
    assert queue.purge() == 5
    status = queue.status()
    assert (status.waiting, status.in_flight, status.dead, status.done) == (0, 0, 0, 0)


def test_the_age_of_the_oldest_job_is_known_for_streams(valkey: redis.Redis) -> None:
    """By the server's clock. Lists do not record it."""
    valkey.flushdb()
    stream, plain = StreamQueue(valkey, "stream", CLAIM_AFTER), ListQueue(valkey, "list", CLAIM_AFTER)
    assert stream.status().oldest_seconds is None
    seconds, _ = valkey.time()
    valkey.xadd("{stream}:jobs", {"job": b"old"}, id=f"{(seconds - 100) * 1000}-0")
    plain.put(jobs(1))
    age = stream.status().oldest_seconds
    assert age is not None
    assert 100 <= age < 160
    assert plain.status().oldest_seconds is None


def test_all_keys_are_on_one_node_of_a_cluster(queue: JobQueue, valkey: redis.Redis) -> None:
    """Their hash tag, in braces, is the queue's name."""
    queue.put(jobs(3))
    first, *_ = queue.claim("a", 2, 0.01)
    queue.bury("a", first, "no")
    keys = [str(key, "ascii") for key in valkey.scan_iter("*")]
    assert keys
    assert all(key.startswith("{snapseed:shop:dev}:") for key in keys)


def test_a_worker_taken_for_dead_cannot_touch_its_former_jobs(queue: JobQueue, valkey: redis.Redis) -> None:
    """It gives nothing back, and buries nothing."""
    queue.put(jobs(2))
    lost = queue.claim("slow", 2, 0.01)
    silence(valkey, "slow")
    assert len(queue.claim("quick", 2, 0.01)) == 2
    queue.release("slow", lost[:1], tried=True)
    queue.bury("slow", lost[1], "never mind")
    queue.leave("slow")
    status = queue.status()
    assert (status.waiting, status.in_flight, status.dead) == (0, 2, 0)


def test_a_foreign_dead_job_is_shown_and_retried(queue: JobQueue, valkey: redis.Redis) -> None:
    """With the bytes that it has."""
    if isinstance(queue, ListQueue):
        valkey.lpush(f"{KEY}:dead", b"foreign")
    else:
        valkey.xadd(f"{KEY}:dead", {"task": "foreign"})
    (dead,) = queue.dead(10)
    assert b"foreign" in dead.payload
    assert queue.retry() == 1
    (claim,) = queue.claim("a", 1, 0.01)
    assert claim.payload == dead.payload


def test_a_queue_in_the_other_form_is_refused(queue: JobQueue, valkey: redis.Redis) -> None:
    """The error says how to get rid of it."""
    queue.put(jobs(1))
    queue.require_form("here")
    other = StreamQueue if isinstance(queue, ListQueue) else ListQueue
    with pytest.raises(ConfigurationError) as caught:
        other(valkey, NAME, CLAIM_AFTER).require_form("here")
    assert caught.value.observed == f"a {queue.form}"
    assert f"DEL {KEY}:jobs" in str(caught.value.next_step)


FORMS: list[dict[str, Any] | None] = [
    None,
    {"key": "{key}"},
    {"class": "Embed", "args": [1, ["{key}"], "{model}"], "retry": True, "queue": "ai"},
    {"meta": {"snapshot": "{snapshot}", "at": "{entity}/{key}"}, "task": {"ids": "{keys}"}, "note": "é {job} ☃"},
]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def test_the_bytes_of_a_job_are_those_that_are_documented() -> None:
    """Without blanks, in this order."""
    (job,) = encode_jobs(job_form(None, ""), pl.Series(["k"]), snapshot="5" * 64, entity="letters", model="m")
    assert job == (
        b'{"job":"5555555555555555:k","snapshot":"' + b"5" * 64 + b'","entity":"letters","keys":["k"],"model":"m"}'
    )


@pytest.mark.parametrize("payload", FORMS, ids=str)
@given(keys=st.lists(texts, max_size=5))
def test_keys_come_back(payload: dict[str, Any] | None, keys: list[str]) -> None:
    """Any text that PostgreSQL holds, in any form; every job is JSON."""
    form = job_form(payload, "")
    series = pl.Series(keys, dtype=pl.String)
    jobs = encode_jobs(form, series, snapshot="abc", entity="e", model="m")
    assert [decode_job(form, job) for job in jobs] == [[key] for key in keys]
    assert all(isinstance(json.loads(job), dict) for job in jobs)


def test_all_names_are_filled_in() -> None:
    """Alone, inside a text, and inside a list."""
    payload = {"a": "{keys}", "b": "<{job}|{snapshot}|{entity}|{key}|{model}>", "c": ["{key}", 7, None], "d": 1.5}
    (job,) = encode_jobs(job_form(payload, ""), pl.Series(['"x"']), snapshot="s", entity="e", model="m")
    assert json.loads(job) == {"a": ['"x"'], "b": '<s:"x"|s|e|"x"|m>', "c": ['"x"', 7, None], "d": 1.5}


def test_several_keys_and_numbers_are_accepted() -> None:
    """An application's own jobs may hold either."""
    form = job_form(None, "")
    assert decode_job(form, b'{"keys": [1, "2", 300000000000000000000]}') == ["1", "2", "300000000000000000000"]
    assert decode_job(form, b'{"keys": "one"}') == ["one"]


@given(st.binary() | st.recursive(st.none() | st.integers() | texts, st.lists, max_leaves=5).map(json.dumps))
def test_nonsense_is_not_a_job(payload: bytes | str) -> None:
    """Whatever it is, it raises `NotAJobError` and nothing else."""
    with pytest.raises(NotAJobError):
        decode_job(job_form(None, ""), payload if isinstance(payload, bytes) else payload.encode())


@pytest.mark.parametrize("payload", [{}, {"a": "{job}"}, {"a": "x{key}"}, {"a": "{key}", "b": "{title}"}, {"a": 1}])
def test_a_form_without_keys_is_refused(payload: dict[str, Any]) -> None:
    """And so is one with an unknown name; the error says where."""
    with pytest.raises(ConfigurationError) as caught:
        job_form(payload, "here")
    assert caught.value.where == "here"
