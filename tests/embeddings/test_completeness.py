"""Completeness: every text has its chunks, and there are no others."""

from __future__ import annotations

from snapseed.embeddings.enqueue import Completeness, completeness
from tests.embeddings.conftest import Post


def found(post: Post) -> Completeness:
    """What the database says."""
    with post.session() as session:
        return completeness(session.connection, session.source)


def test_each_finding_is_counted(post: Post) -> None:
    """Texts without all chunks, chunks without a text, vectors of a wrong length. Other models do not count."""
    post.load()
    before = found(post)
    assert (before.texts, before.incomplete, before.rows, before.is_complete) == (40, 40, 0, False)
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
