"""The first chunks of texts go straight into the target; if another worker is faster, an upsert merges them."""

from __future__ import annotations

import threading

import psycopg
import pytest

from tests.embeddings.conftest import Post
from tests.projects.state import patiently

WAITING = """SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
              WHERE NOT granted AND query ~ 'COPY' AND datname = current_database()"""


def test_the_first_chunks_of_a_text_go_straight_into_the_target(post: Post) -> None:
    """COPY writes them. An upsert writes later ones."""
    post.load()
    post.execute("CREATE TABLE seen (statement text)")
    post.execute(
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN INSERT INTO seen VALUES (left(ltrim(current_query(), chr(10)), 4)); RETURN NULL; END'"
    )
    post.execute("CREATE TRIGGER see AFTER INSERT ON parts FOR EACH STATEMENT EXECUTE FUNCTION see()")
    post.drain()
    assert set(post.execute("SELECT statement FROM seen")) == {("COPY",)}
    post.put_keys(1)
    post.drain()
    assert set(post.execute("SELECT statement FROM seen")) == {("COPY",), ("INSE",)}
    assert post.parts() == post.expected()


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_two_workers_that_write_the_same_text_leave_one_row_per_chunk(post: Post, end: str) -> None:
    """Whether the first one's rows are right or wrong, and whether it commits or not."""
    post.load()
    post.drain()
    post.execute("CREATE TABLE before AS SELECT * FROM parts")
    post.execute("TRUNCATE parts")
    post.batches.clear()
    post.put_keys(*range(1, 41))
    with psycopg.connect(post.sandbox.url) as other:
        other.execute("INSERT INTO parts SELECT * FROM before WHERE letter % 2 = 0")
        other.execute("UPDATE parts SET numbers[1] = 7 WHERE letter % 4 = 0")
        worker = threading.Thread(target=post.drain)
        worker.start()
        patiently(lambda: post.execute(WAITING) == [(1,)])
        other.execute(end)
        worker.join()
    assert post.parts() == post.expected()
    assert sum(batch.dead for batch in post.batches) == 0


def test_chunks_beyond_the_last_are_deleted_even_if_the_first_is_missing(post: Post) -> None:
    """A text with any chunk is not a new one."""
    post.load()
    post.drain()
    post.execute("UPDATE parts SET part = 99 WHERE part = 0")
    post.put_keys(*range(1, 41))
    post.drain()
    assert post.parts() == post.expected()
