"""Both forms of the queue deliver every job at least once, and lose none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from snapseed.embeddings.queue import JobQueue, require_form
from snapseed.embeddings.queue_list import ListQueue
from snapseed.embeddings.queue_stream import StreamQueue
from snapseed.errors import ConfigurationError
from snapseed.servers import EmbeddedRedis

CLAIM_AFTER = 0.3


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
    return request.param(valkey, "snapseed:shop:dev", CLAIM_AFTER)  # type: ignore[no-any-return]


def jobs(count: int) -> list[bytes]:
    """So many different jobs."""
    return [b"job %d" % number for number in range(count)]


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
    assert queue.claim("a", 1, 0.01) == []
    queue.done("a", [])


def test_a_job_that_is_there_several_times_leaves_nothing_in_hand(queue: JobQueue) -> None:
    """Claims differ from one another, and with them all copies are done: in one batch, and between two workers."""
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


def test_an_empty_queue_is_waited_at(queue: JobQueue) -> None:
    """For as long as was said, and no shorter."""
    started = time.monotonic()
    assert queue.claim("a", 1, 0.2) == []
    assert 0.15 < time.monotonic() - started < 5


def test_jobs_of_a_silent_worker_are_given_to_others(queue: JobQueue) -> None:
    """After a while, and not before; they know how often they were handed out."""
    queue.put(jobs(2))
    assert len(queue.claim("dead", 2, 0.01)) == 2
    assert queue.claim("a", 2, 0.01) == []
    time.sleep(CLAIM_AFTER + 0.1)
    taken = queue.claim("a", 2, 0.01)
    assert sorted(claim.payload for claim in taken) == jobs(2)
    assert {claim.deliveries for claim in taken} == {2}


def test_released_jobs_are_claimed_again_at_once(queue: JobQueue) -> None:
    """By whoever asks first."""
    queue.put(jobs(2))
    claims = queue.claim("a", 2, 0.01)
    queue.release("a", claims[:1], tried=True)
    queue.done("a", claims[1:])
    (again,) = queue.claim("b", 2, 0.01)
    assert (again.payload, again.deliveries) == (b"job 0", 2)


def test_a_delivery_does_not_count_where_nothing_was_tried(queue: JobQueue) -> None:
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
    """And is no longer counted."""
    queue.put(jobs(3))
    queue.claim("a", 3, 0.01)
    queue.leave("a")
    assert sorted(claim.payload for claim in queue.claim("b", 3, 0.01)) == jobs(3)


def test_the_dead_are_kept_with_their_error_until_they_are_tried_again(queue: JobQueue) -> None:
    """Whatever bytes a job is made of."""
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


def test_a_queue_that_was_flushed_away_is_made_anew(queue: JobQueue, valkey: redis.Redis) -> None:
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


def test_purging_takes_everything_away(queue: JobQueue) -> None:
    """Waiting, in hand and dead."""
    queue.put(jobs(5))
    first, _ = queue.claim("a", 2, 0.01)
    queue.bury("a", first, "no")
    assert queue.purge() == 5
    status = queue.status()
    assert (status.waiting, status.in_flight, status.dead, status.done) == (0, 0, 0, 0)


def test_the_age_of_the_oldest_job_is_known_of_a_stream(valkey: redis.Redis) -> None:
    """By the server's clock; of a list nobody knows."""
    valkey.flushdb()
    stream, plain = StreamQueue(valkey, "stream", 60), ListQueue(valkey, "list", 60)
    for queue in (stream, plain):
        assert queue.status().oldest_seconds is None
        queue.put(jobs(1))
    time.sleep(0.05)
    age = stream.status().oldest_seconds
    assert age is not None
    assert 0.04 < age < 5
    assert plain.status().oldest_seconds is None


def test_all_keys_lie_on_one_node_of_a_cluster(queue: JobQueue, valkey: redis.Redis) -> None:
    """Their hash tag, in braces, is the queue's name."""
    queue.put(jobs(3))
    first, *_ = queue.claim("a", 2, 0.01)
    queue.bury("a", first, "no")
    keys = [str(key, "ascii") for key in valkey.scan_iter("*")]
    assert keys
    assert all(key.startswith("{snapseed:shop:dev}:") for key in keys)


def test_what_others_have_by_now_is_theirs(queue: JobQueue) -> None:
    """One that was taken for dead gives nothing back, and buries nothing."""
    queue.put(jobs(2))
    lost = queue.claim("slow", 2, 0.01)
    time.sleep(CLAIM_AFTER + 0.1)
    assert len(queue.claim("quick", 2, 0.01)) == 2
    queue.release("slow", lost[:1], tried=True)
    queue.bury("slow", lost[1], "never mind")
    queue.leave("slow")
    status = queue.status()
    assert (status.waiting, status.in_flight, status.dead) == (0, 2, 0)


def test_one_that_leaves_gives_back_what_it_has_as_if_nobody_had_tried(queue: JobQueue) -> None:
    """At once."""
    queue.put(jobs(2))
    queue.claim("a", 2, 0.01)
    queue.leave("a")
    assert [claim.deliveries for claim in queue.claim("b", 2, 0.01)] == [1, 1]


def test_one_that_is_at_work_keeps_its_jobs(queue: JobQueue) -> None:
    """As long as it says so."""
    queue.put(jobs(1))
    queue.claim("a", 1, 0.01)
    for _ in range(6):
        time.sleep(CLAIM_AFTER / 3)
        queue.keep("a")
        assert queue.claim("b", 1, 0) == []
    queue.keep("c")


def test_a_dead_job_of_somebody_else_is_shown_and_retried(queue: JobQueue, valkey: redis.Redis) -> None:
    """As the bytes that it is."""
    if isinstance(queue, ListQueue):
        valkey.lpush("{snapseed:shop:dev}:dead", b"foreign")
    else:
        valkey.xadd("{snapseed:shop:dev}:dead", {"task": "foreign"})
    (dead,) = queue.dead(10)
    assert b"foreign" in dead.payload
    assert "not a dead job" in dead.error
    assert queue.retry() == 1
    (claim,) = queue.claim("a", 1, 0.01)
    assert claim.payload == dead.payload


def test_a_queue_in_another_form_is_refused(queue: JobQueue, valkey: redis.Redis) -> None:
    """With what it is, and how to be rid of it."""
    queue.put(jobs(1))
    mine, other = ("list", "stream") if isinstance(queue, ListQueue) else ("stream", "list")
    require_form(valkey, mine, "snapseed:shop:dev", "here")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="other form") as caught:
        require_form(valkey, other, "snapseed:shop:dev", "here")  # type: ignore[arg-type]
    assert "DEL {snapseed:shop:dev}:jobs" in str(caught.value.next_step)
