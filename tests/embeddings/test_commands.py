"""The commands for the queue, workers and search."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
import redis

from snapseed.testing.clones import opened_clones
from tests.embeddings.conftest import Post


def status(post: Post) -> dict[str, Any]:
    """The document of `snapseed queue status`."""
    document: dict[str, Any] = json.loads(post.run("queue", "status", "dev", "--format", "json"))
    return document


def test_the_queue_is_shown_and_fixed(post: Post) -> None:
    """Status, retry, purge and repair, from the load to the last row."""
    assert "40 jobs" in post.run("load", "dev")
    found = status(post)
    assert (found["format"], found["queue"], found["waiting"], found["dead"]) == (1, "snapseed:letters:dev", 40, 0)
    post.put(b"nonsense")
    assert "41 jobs" in post.run("worker", "dev", "--drain", "--quiet")
    found = status(post)
    assert (found["waiting"], found["in_flight"], found["done"], found["dead"]) == (0, 0, 40, 1)
    (dead,) = found["oldest_dead"]
    assert dead["job"] == "nonsense"
    assert "  nonsense: " in post.run("queue", "status", "dev")
    assert "1 dead jobs" in post.run("queue", "retry", "dev")
    post.execute("DELETE FROM parts WHERE letter < 4")
    assert "3 texts lack chunks" in post.run("queue", "repair", "dev")
    assert "4 jobs" in post.run("queue", "purge", "dev", "--yes")
    assert "3 texts lack chunks" in post.run("queue", "repair", "dev")
    worked = post.sandbox.run("worker", "--drain", "--format", "json", check=True, SNAPSEED_REDIS=post.redis_url)
    batches = [json.loads(line) for line in worked.stdout.splitlines()]
    assert sum(batch["jobs"] for batch in batches) == 3
    assert {batch["environment"] for batch in batches} == {"dev"}
    assert post.parts() == post.expected()


@pytest.mark.parametrize(("form", "other"), [("stream", "list"), ("list", "stream"), ("stream", "string")])
def test_a_queue_in_another_form_is_found_before_a_load(post: Post, valkey: redis.Redis, form: str, other: str) -> None:
    """By load and by ci. The rows that are there stay."""
    post.configure(queue=repr(form))
    post.run("load", "dev")
    post.execute("UPDATE letters SET body = 'changed'")
    key = "{snapseed:letters:dev}:jobs"
    valkey.flushall()
    put = {"list": lambda: valkey.lpush(key, "job"), "stream": lambda: valkey.xadd(key, {"job": "1"})}
    put.get(other, lambda: valkey.set(key, "job"))()
    for command in ("load", "ci"):
        said = post.run(command, "dev", code=2)
        assert f"redis-cli DEL {key}" in said
        assert (f"queue = '{other}'" in said) == (other != "string")
    assert post.execute("SELECT DISTINCT body FROM letters") == [("changed",)]


def test_an_environment_without_a_queue_has_none_to_show(post: Post) -> None:
    """The error says which setting makes one."""
    result = post.sandbox.run("queue", "status", "dev", SNAPSEED_EMBEDDINGS="snapshot")
    assert result.returncode == 2
    assert 'embeddings = "queue"' in result.stderr


def test_the_queues_target_cannot_be_loaded_alone(post: Post) -> None:
    """Its rows come from workers."""
    assert "parts" in post.run("load", "dev", "--only", "parts", code=2)


def test_search_finds_the_text_that_a_question_was_taken_from(post: Post) -> None:
    """As the first hit, and a very near one."""
    post.run("load", "dev")
    post.drain()
    ((letter, body),) = post.execute("SELECT id, split_part(body, ' ', 1) FROM letters WHERE body IS NOT NULL LIMIT 1")
    document: Any = post.sandbox.run_json("search", "dev", f"{body} {letter}")
    assert document["hits"][0]["key"] == str(letter)
    assert document["hits"][0]["similarity"] > 0.9


@pytest.mark.parametrize("command", ["load", "reset"])
def test_nothing_is_loaded_if_the_queue_cannot_be_reached(post: Post, command: str) -> None:
    """That is checked before the load."""
    result = post.sandbox.run(command, "dev", SNAPSEED_REDIS="unix:///nowhere/redis.sock")
    assert result.returncode == 4
    assert "Redis failed while connecting" in result.stderr
    assert post.execute("SELECT to_regclass('letters'), to_regclass('snapseed.loads')") == [(None, None)]


def test_a_reset_adds_the_jobs_of_its_rows(post: Post) -> None:
    """First by a load, then by a copy without the rows that workers wrote after it."""
    for _ in range(2):
        assert "40 jobs" in post.run("reset", "dev", "--yes")
        assert post.parts() == []
        post.drain()
        assert post.parts() == post.expected()


def test_databases_for_tests_hold_what_workers_would_write(post: Post) -> None:
    """No worker ever visits them."""
    with (
        opened_clones(post.sandbox.project, post.environment()) as clones,
        psycopg.connect(clones.take().url) as connection,
    ):
        assert connection.execute("SELECT count(*) FROM parts").fetchone() == (40,)
