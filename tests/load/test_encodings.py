"""Databases that are not in UTF-8: the same rows verify as the same, and what the encoding lacks is named at once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from snapseed import LoadRequest, load_snapshot, verify_snapshot
from snapseed.errors import SchemaError
from snapseed.load.request import Mode
from snapseed.postgres.connect import connected
from snapseed.postgres.rowhash import bucket
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.store import open_snapshot
from tests.conftest import Sandbox
from tests.differences import diff_snapshot
from tests.projects.state import generated

# Texts that the encoding has. Its bytes sort those of EUC_JP in another order than UTF-8 does.
ENCODINGS = {
    "LATIN1": ["café", "ÿ¡", "plain", "ñandú"],
    "WIN1252": ["œuvre", "€ 5", "plain", "„quoted“"],
    "EUC_JP": ["ひらがな", "漢字", "ｶﾅ", "Ελλάς", "Ж", "plain"],
    "SQL_ASCII": ["😀", "café", "漢字", "plain"],
}
COLUMNS = {"t": "text", "v": "varchar(20)", "c": "char(12)", "a": "text[]", "j": "jsonb", "p": "json", "x": "tsvector"}
PARALLEL = ("parallel_tuple_cost = 0", "parallel_setup_cost = 0", "parallel_leader_participation = off")
SCHEMA = f"""
CREATE TABLE books (id bigint PRIMARY KEY);
CREATE TABLE words (book bigint REFERENCES books, word text, {", ".join(f"{c} {t}" for c, t in COLUMNS.items())},
                    PRIMARY KEY (book, word));
"""
MODULE = """
import polars as pl
from snapseed import Rows, entity, exactly, json_object

WORDS = __WORDS__

@entity(key="id", columns={"id": "bigint"})
def books(rows: Rows) -> pl.DataFrame:
    return pl.DataFrame({"id": rows.key()})

@entity(parent=books, per_parent=exactly(len(WORDS)), key=["book", "word"],
        columns={"book": "bigint", "word": "text", **__COLUMNS__})
def words(rows: Rows, books: pl.DataFrame) -> pl.DataFrame:
    word = rows.ascending(rows.choice("word", WORDS, distinct=True)).alias("word")
    text = rows.choice("text", WORDS)
    items = rows.items("items", rows.integers("number", 0, 3))
    document = json_object(text=text)
    return pl.DataFrame({
        "book": books["id"], "word": word, "t": text, "v": text, "c": text, "j": document, "p": document,
        "a": items.lists(items.choice("item", WORDS)), "x": "'" + text + "'",
    })
"""


@contextmanager
def encoded_database(server: str, encoding: str) -> Iterator[str]:
    """The URL of a database in this encoding."""
    name = f"snapseed_test_{uuid.uuid4().hex[:12]}"
    create = "CREATE DATABASE {} ENCODING {} LOCALE 'C' TEMPLATE template0"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL(create).format(sql.Identifier(name), sql.Literal(encoding)))
        try:
            yield make_conninfo(server, dbname=name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def project_of(folder: Path, url: str, words: list[str]) -> Sandbox:
    """A project of two tables whose texts are these words, with a snapshot in chunks of 7 rows."""
    module = MODULE.replace("__WORDS__", repr(words)).replace("__COLUMNS__", repr(COLUMNS))
    (folder / "generators").mkdir(parents=True)
    (folder / "generators" / "words.py").write_text(module, encoding="utf-8")
    (folder / "schema.sql").write_text(SCHEMA, encoding="utf-8")
    (folder / "snapseed.toml").write_text(
        '[snapseed]\nschema = "schema.sql"\n[environments.dev]\nscale = 12\ncreate_schema = true\n'
        'database = "embedded"\nreplace_existing = true\n'
    )
    return generated(Sandbox(folder, url), chunk_rows=7)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_rows_in_any_encoding_are_the_rows_of_the_snapshot(server: str, tmp_path: Path, encoding: str) -> None:
    """Load, verify and diff compare UTF-8; an upsert finds nothing to change, and one changed text is found."""
    with encoded_database(server, encoding) as url:
        sandbox = project_of(tmp_path / "words", url, ENCODINGS[encoding])
        project, environment = sandbox.project, sandbox.environment()
        load_snapshot(project, environment)
        assert verify_snapshot(project, environment).agrees
        assert diff_snapshot(project, environment).agrees
        record = open_snapshot(project.snapshots, "dev").manifest.entity("words")
        assert record is not None
        with connected(resolve_target(project, environment)) as connection:
            connection.execute("SET search_path TO public")
            numbers = sql.SQL("SELECT {} AS number, count(*) FROM words GROUP BY 1 ORDER BY 1").format(
                bucket(record.key_columns, [chunk.first_key for chunk in record.chunks])
            )
            found = connection.execute(numbers).fetchall()
            assert found == [(number, chunk.rows) for number, chunk in enumerate(record.chunks)]
            connection.execute("CREATE TABLE before AS SELECT book, word, xmin::text AS version FROM words")
        load_snapshot(project, environment, LoadRequest(mode=Mode.UPSERT))
        new = ENCODINGS[encoding][0] + "!"
        with connected(resolve_target(project, environment)) as connection:
            connection.execute("SET search_path TO public")
            changed = "SELECT FROM words w JOIN before USING (book, word) WHERE w.xmin::text <> version"
            assert connection.execute(changed).fetchall() == []
            connection.execute("UPDATE words SET t = %s WHERE book = 3 AND word = %s", [new, ENCODINGS[encoding][1]])
        difference = diff_snapshot(project, environment).entities[1]
        assert (difference.removed_count, difference.added_count, difference.changed_count) == (0, 0, 1)
        assert difference.changed[0].key == ("3", ENCODINGS[encoding][1])
        assert difference.changed[0].columns["t"][1] == new


def test_parallel_workers_hash_the_same_bytes(server: str, tmp_path: Path) -> None:
    """They would send lists and jsonb in the encoding of the database, and not in UTF-8 as the leader does."""
    with encoded_database(server, "LATIN1") as url:
        sandbox = project_of(tmp_path / "words", url, ENCODINGS["LATIN1"])
        load_snapshot(sandbox.project, sandbox.environment())
        with sandbox.connect() as connection:
            connection.execute("ALTER TABLE words SET (parallel_workers = 4)")
            for setting in PARALLEL:
                connection.execute(f"ALTER DATABASE {connection.info.dbname} SET {setting}".encode())
        assert verify_snapshot(sandbox.project, sandbox.environment()).agrees


@pytest.mark.parametrize(("encoding", "lacks"), [("LATIN1", "漢"), ("WIN1252", "Ж"), ("EUC_JP", "😀"), ("EUC_JP", "¦")])
def test_what_an_encoding_lacks_is_named_before_anything_changes(
    server: str, tmp_path: Path, encoding: str, lacks: str
) -> None:
    """Each column with such a text, with the text and the encoding; also if a character comes back as another one."""
    words = [*ENCODINGS[encoding][:3], f"has {lacks}"]
    with encoded_database(server, encoding) as url:
        sandbox = project_of(tmp_path / "words", url, words)
        with sandbox.connect() as connection:
            connection.execute(SCHEMA.encode())
            connection.execute("INSERT INTO books VALUES (-1)")
        with pytest.raises(SchemaError) as caught:
            load_snapshot(sandbox.project, sandbox.environment())
        observed = caught.value.observed or ""
        for column in ("word", *COLUMNS):
            assert f"words.{column}: {encoding}" in observed
        assert f"{lacks!r} (U+{ord(lacks):04X})" in observed
        assert f"has {lacks}" in observed
        with sandbox.connect() as connection:
            assert connection.execute("SELECT id FROM books").fetchall() == [(-1,)]
