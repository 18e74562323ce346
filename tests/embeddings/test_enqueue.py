"""Jobs follow a load's commit: a crash loses none, and rows that were rolled back get none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
import redis

from snapseed import LoadRequest, Mode, load_snapshot
from snapseed.embeddings.enqueue import Completeness, JobsAdded, completeness, enqueue_incomplete, enqueue_load
from snapseed.errors import LoadError, SchemaError
from tests.embeddings.conftest import Post

# A load and its jobs, in a process that kills itself once so many jobs are in the queue.
_DYING = """
import os, signal, sys
from pathlib import Path
from snapseed import find_project, load_snapshot
from snapseed.embeddings.enqueue import JobsAdded, enqueue_load

def told(event):
    if isinstance(event, JobsAdded) and event.jobs >= int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

project = find_project(Path.cwd())
environment = project.environment("dev")
load_snapshot(project, environment)
told(JobsAdded(0))
enqueue_load(project, environment, listener=told, batch_jobs=7)
"""


def waiting(post: Post) -> list[str]:
    """The keys of the jobs in the queue."""
    with post.session() as session:
        claims = []
        while some := session.queue.claim("looking", 1000, 0.01):
            claims += some
        session.queue.release("looking", claims, tried=False)
        return [key for claim in claims for key in json.loads(claim.payload)["keys"]]


def test_each_text_has_one_job(post: Post) -> None:
    """The second call has nothing to do."""
    assert post.load() == 40
    assert sorted(map(int, waiting(post))) == list(range(1, 41))
    assert enqueue_load(post.sandbox.project, post.environment()) is None
    assert len(waiting(post)) == 40


def test_a_load_that_is_rolled_back_makes_no_job(post: Post) -> None:
    """Neither at once nor later."""
    post.load()
    post.drain()
    post.execute("ALTER TABLE letters ADD CHECK (id < 20) NOT VALID")
    with pytest.raises(LoadError):
        post.load()
    post.run("load", "dev", code=2)
    assert enqueue_load(post.sandbox.project, post.environment()) is None
    assert waiting(post) == []
    assert post.parts() == post.expected()


@pytest.mark.parametrize(
    "in_queue", [0, 14, 40], ids=["before the first job", "among the jobs", "before the jobs are recorded"]
)
def test_a_crash_after_the_commit_loses_no_job(post: Post, in_queue: int) -> None:
    """`load --if-changed`, which finds everything loaded, puts them into the queue."""
    command = [sys.executable, "-c", _DYING, str(in_queue)]
    variables = {"SNAPSEED_DATABASE": post.sandbox.url, "SNAPSEED_REDIS": post.redis_url}
    died = subprocess.run(command, cwd=post.folder, env=os.environ | variables, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert post.execute("SELECT count(*) FROM letters") == [(40,)]
    assert len(waiting(post)) == in_queue
    said = post.run("load", "dev", "--if-changed")
    assert "put 40 jobs into the queue" in said
    assert set(map(int, waiting(post))) == set(range(1, 41))
    assert "already in the queue" in post.run("load", "dev", "--if-changed")
    post.drain()
    assert post.parts() == post.expected()


def test_jobs_are_streamed(post: Post) -> None:
    """So many keys at a time, in their order."""
    load_snapshot(post.sandbox.project, post.environment())
    told: list[object] = []
    with post.session() as session:
        assert enqueue_incomplete(session, told.append, batch_jobs=16) == 40
    assert told == [JobsAdded(16), JobsAdded(32), JobsAdded(40)]
    assert waiting(post) == [str(key) for key in range(1, 41)]


def test_only_what_is_missing_gets_a_job(post: Post) -> None:
    """Texts without chunks, with too few, and with too many."""
    post.load()
    post.drain()
    post.execute("DELETE FROM parts WHERE letter = 3")
    post.execute("UPDATE letters SET body = repeat('w ', 120) || 'w' WHERE id = 4")
    post.execute("UPDATE letters SET body = '' WHERE id = (SELECT max(letter) FROM parts WHERE part = 1)")
    longer = post.execute("SELECT max(letter)::int FROM parts WHERE part = 1")[0][0]
    lacking = {"3", str(longer)} | ({"4"} if len([1 for row in post.parts() if row[0] == 4]) != 2 else set())
    with post.session() as session:
        enqueue_incomplete(session)
    assert set(waiting(post)) == lacking
    post.drain()
    assert [row[:2] for row in post.parts()] == [row[:2] for row in post.expected()]


def test_the_queue_gets_many_jobs_in_one_command(post: Post, valkey: redis.Redis) -> None:
    """Not one command each."""
    load_snapshot(post.sandbox.project, post.environment())
    valkey.config_resetstat()
    with post.session() as session:
        enqueue_incomplete(session)
    commands: Any = valkey.info("commandstats")
    assert commands["cmdstat_eval"]["calls"] == 1


@pytest.mark.parametrize("content", [False, True])
def test_texts_that_a_load_has_changed_are_embedded_again(post: Post, *, content: bool) -> None:
    """Although they have as many chunks as before."""
    if content:
        post.keep_content()
    load_snapshot(post.sandbox.project, post.environment())
    post.execute("UPDATE letters SET body = 'a' || body WHERE id <= 7")
    changed = post.execute("SELECT id FROM letters WHERE id <= 7 AND body IS NOT NULL")
    enqueue_load(post.sandbox.project, post.environment())
    post.drain()
    load_snapshot(post.sandbox.project, post.environment(), LoadRequest(mode=Mode.UPSERT))
    assert enqueue_load(post.sandbox.project, post.environment()) == len(changed)
    post.drain()
    assert post.parts() == post.expected()


def test_changes_by_others_show_in_the_content_of_chunks(post: Post) -> None:
    """If chunks keep it. A gap in the numbers of chunks counts as a missing chunk."""
    post.keep_content()
    post.load()
    post.drain()
    post.execute("UPDATE letters SET body = 'other' WHERE id = 1; UPDATE parts SET part = 7 WHERE letter = 2")
    with post.session() as session:
        assert enqueue_incomplete(session) == 2
    post.drain()
    assert post.parts() == post.expected()


def test_chunks_without_a_text_are_deleted_by_repair(post: Post) -> None:
    """No job would do that."""
    post.load()
    post.drain()
    post.execute("ALTER TABLE parts DROP CONSTRAINT parts_letter_fkey; DELETE FROM letters WHERE id = 40")
    post.execute("INSERT INTO parts (letter, part, made_by, numbers) VALUES (999, 0, 'other', '{1}')")
    assert "belonged to no text" in post.run("queue", "repair", "dev")
    assert post.parts() == post.expected()
    assert post.execute("SELECT letter FROM parts WHERE made_by = 'other'") == [(999,)]


def test_a_target_without_its_unique_index_is_found_before_there_are_jobs(post: Post) -> None:
    """Not by the first worker."""
    load_snapshot(post.sandbox.project, post.environment())
    post.execute("ALTER TABLE parts DROP CONSTRAINT parts_made_by_letter_part_key")
    with pytest.raises(SchemaError, match="no unique index"):
        enqueue_load(post.sandbox.project, post.environment())
    assert waiting(post) == []


def found(post: Post) -> Completeness:
    """What the database says."""
    with post.session() as session:
        return completeness(session.connection, session.source)


def test_each_finding_is_counted(post: Post) -> None:
    """Texts without all chunks, chunks without a text, vectors of a wrong length. Other models do not count."""
    post.load()
    before = found(post)
    assert (before.texts, before.incomplete, before.rows) == (40, 40, 0)
    assert before.findings() == ["40 of 40 texts lack chunks"]
    post.drain()
    rows = len(post.expected())
    assert found(post) == Completeness(texts=40, incomplete=0, rows=rows, orphans=0, wrong_dimension=0)
    assert found(post).findings() == []
    post.execute("ALTER TABLE parts DROP CONSTRAINT parts_letter_fkey")
    post.execute("UPDATE parts SET letter = 999 WHERE letter = 1 AND part = 0")
    post.execute("UPDATE parts SET numbers = '{1, 2}' WHERE letter = 2 AND part = 0")
    post.execute("INSERT INTO parts (letter, part, made_by, numbers) VALUES (1000, 0, 'other', '{}')")
    after = found(post)
    assert after == Completeness(texts=40, incomplete=1, rows=rows, orphans=1, wrong_dimension=1)
    assert after.findings() == [
        "1 of 40 texts lack chunks",
        "1 chunks belong to no text",
        "1 vectors have another dimension than the model's",
    ]
