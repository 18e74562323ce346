"""A Redis without memory: what fails, what still works, and what repairs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from snapseed import load_snapshot
from snapseed.embeddings.enqueue import enqueue_load
from snapseed.embeddings.worker import Worker
from snapseed.errors import ServerError
from snapseed.postgres.failures import may_pass
from tests.conftest import Sandbox
from tests.embeddings.conftest import Post
from tests.projects.own_valkey import OwnValkey, own_valkey


@pytest.fixture
def small() -> Iterator[OwnValkey]:
    """A server of its own."""
    with own_valkey() as server:
        yield server


@pytest.fixture
def post(make_generated: Callable[[str], Sandbox], small: OwnValkey) -> Post:
    """Letters that are loaded, without jobs."""
    post = Post(make_generated("letters"), small.url)
    load_snapshot(post.sandbox.project, post.environment())
    return post


def limit(server: OwnValkey, memory: str) -> None:
    """Give it no more memory than this; `1` is none."""
    with server.client() as client:
        client.config_set("maxmemory", memory)


def test_jobs_that_do_not_fit_are_an_error(post: Post, small: OwnValkey) -> None:
    """As a failure of the server that may pass. The next call starts over."""
    limit(small, "1")
    with pytest.raises(ServerError, match="no memory left") as caught:
        enqueue_load(post.sandbox.project, post.environment())
    assert may_pass(caught.value)
    assert "maxmemory" in str(caught.value.next_step)
    limit(small, "0")
    assert enqueue_load(post.sandbox.project, post.environment()) == 40


def test_workers_take_jobs_out_of_a_full_stream(post: Post, small: OwnValkey) -> None:
    """That frees memory. Counters for which there is no memory are skipped."""
    enqueue_load(post.sandbox.project, post.environment())
    limit(small, "1")
    with post.session() as session:
        Worker(session).run(drain=True)
    assert post.parts() == post.expected()


def test_a_dead_job_without_room_does_not_hold_up_others(post: Post, small: OwnValkey) -> None:
    """The rest of its batch is written first, and it dies once there is room."""
    enqueue_load(post.sandbox.project, post.environment())
    post.put(b"nonsense")
    limit(small, "1")
    with post.session() as session:
        with pytest.raises(redis.OutOfMemoryError):
            Worker(session).run(drain=True)
        assert post.parts() == post.expected()
        limit(small, "0")
        Worker(session).run(drain=True)
        assert [job.payload for job in session.queue.dead(10)] == [b"nonsense"]


@pytest.mark.parametrize("form", ["stream", "list"])
def test_repair_recreates_evicted_jobs(post: Post, small: OwnValkey, form: str) -> None:
    """Whatever a Redis with another policy has evicted."""
    post.configure(queue=repr(form))
    enqueue_load(post.sandbox.project, post.environment())
    with small.client() as client:
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", "1")
        assert client.dbsize() == 0 or client.set("x", 1)
        client.config_set("maxmemory", "0")
        assert not client.exists("{snapseed:letters:dev}:jobs")
    post.drain()
    assert post.parts() == []
    assert "40 texts lack chunks" in post.run("queue", "repair", "dev")
    post.drain()
    assert post.parts() == post.expected()
