"""A manifest is canonical, and nothing in it is used before it is checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snapseed.errors import ManifestError, UsageError
from snapseed.snapshot.manifest import (
    MOST_BYTES,
    CaptureRecord,
    Chunk,
    Column,
    EntityRecord,
    Manifest,
    PartFile,
    SchemaFile,
    SequencePosition,
    encode,
)
from snapseed.snapshot.manifest_checks import decode

WHERE = "snapshots/ci/manifest.json"
Document = dict[str, Any]


def part(path: str, *chunks: Chunk) -> PartFile:
    """A file of these chunks."""
    return PartFile(path, sum(chunk.rows for chunk in chunks), 1000, hashlib.sha256(path.encode()).hexdigest(), chunks)


def sample() -> Manifest:
    """Two entities, one of them in two files."""
    return Manifest(
        name="ci",
        seed=2**64 - 1,
        scale=300,
        now=datetime(2026, 1, 1, tzinfo=UTC),
        part_rows=100,
        chunk_rows=50,
        pools={"words": "ab" * 32},
        libraries={"polars": "1.30.0"},
        entities=(
            EntityRecord(
                name="users",
                schema=None,
                table="users",
                key="id",
                columns=(Column("id", "bigint"), Column("name", "character varying(40)")),
                parent=None,
                rows=150,
                fingerprint="0000000000000002",
                files=(
                    part("users/part-00000.parquet", Chunk(50, 1, "ffffffffffffffff"), Chunk(50, 51, "0" * 15 + "1")),
                    part("users/part-00001.parquet", Chunk(50, 101, "0" * 15 + "2")),
                ),
            ),
            EntityRecord(
                name="posts",
                schema="blog",
                table="Posts",
                key="id",
                columns=(Column("id", "uuid"), Column("user_id", "bigint")),
                parent="users",
                rows=1,
                fingerprint="00000000000000ff",
                files=(part("posts.parquet", Chunk(1, "00000000-0000-8000-8000-000000000000", "0" * 14 + "ff")),),
            ),
        ),
    )


ENCODED = encode(sample())
LINK = EntityRecord(
    name="friends",
    schema=None,
    table="friends",
    key=("user_id", "friend"),
    columns=(Column("since", "date"), Column("friend", "uuid"), Column("user_id", "bigint")),
    parent="users",
    rows=51,
    fingerprint="0" * 15 + "3",
    files=(
        part(
            "friends.parquet",
            *(
                Chunk(rows, (key, f"0000000{key}-0000-8000-8000-000000000000"), f"{key:016x}")
                for key, rows in ((1, 50), (2, 1))
            ),
        ),
    ),
)
LINKED = encode(msgspec.structs.replace(sample(), entities=(*sample().entities, LINK)))


KEYLESS = EntityRecord(
    name="history",
    schema="public",
    table="History",
    key=(),
    columns=(Column("at", "timestamp with time zone"),),
    parent=None,
    rows=1,
    fingerprint="0" * 15 + "1",
    files=(part("history.parquet", Chunk(1, (), "0" * 15 + "1")),),
    sequences=(SequencePosition("public", "history_seq", -5, is_called=False),),
)
CAPTURED = encode(
    Manifest(
        name="ci",
        capture=CaptureRecord(
            schema=SchemaFile("schema.sql", 7, "ab" * 32),
            subset=False,
            masked=("history.at",),
            server=18,
            sequences=(SequencePosition("public", "free", 1, is_called=True),),
        ),
        part_rows=100,
        chunk_rows=50,
        pools={},
        libraries={"pyarrow": "25.0.0"},
        entities=(KEYLESS,),
    )
)


def signed(document: Document) -> bytes:
    """The document with a matching identity, as an attacker would write it."""
    body = {key: value for key, value in document.items() if key not in {"format", "identity"}}
    try:
        manifest = msgspec.convert(body, Manifest)
        return json.dumps({**document, "identity": manifest.identity}).encode()
    except msgspec.ValidationError:
        return json.dumps(document).encode()


def test_a_manifest_survives_the_round_trip() -> None:
    """It is equal, and so are its bytes."""
    decoded = decode(ENCODED, where=WHERE)
    assert decoded == sample()
    assert encode(decoded) == ENCODED


def test_a_manifest_is_canonical() -> None:
    """Golden digests of its bytes and its content. Both are public, so neither may change."""
    assert hashlib.sha256(ENCODED).hexdigest() == "f9d8bd7c5b0adf15878d8fc03db5a1760a37818c132dce4d98754a1e438cfe1c"
    assert sample().identity == "107b6bbe4ea1f4f7d44e605fce1fe469232f919aa8242e610bf4f470816cf772"
    assert ENCODED.startswith(b'{\n "format": 1,\n "identity": "')
    assert ENCODED.endswith(b"}\n")


def test_a_key_of_several_columns_makes_a_manifest_of_format_2() -> None:
    """Key and first keys are lists; a manifest without one stays in format 1, and an older reader refuses the newer."""
    decoded = decode(LINKED, where=WHERE)
    assert encode(decoded) == LINKED
    assert (decoded.format, sample().format) == (2, 1)
    assert decoded.entities[2] == LINK
    assert [column.type for column in LINK.key_columns] == ["bigint", "uuid"]
    document = json.loads(LINKED)
    assert (document["format"], document["entities"][2]["key"]) == (2, ["user_id", "friend"])
    assert document["entities"][2]["files"][0]["chunks"][1]["first_key"] == [2, "00000002-0000-8000-8000-000000000000"]


def test_a_capture_makes_a_manifest_of_format_3() -> None:
    """It has no seed, scale and moment, and a key of no columns where the table has none."""
    decoded, document = decode(CAPTURED, where=WHERE), json.loads(CAPTURED)
    assert encode(decoded) == CAPTURED
    assert (decoded.format, document["format"], decoded.entities) == (3, 3, (KEYLESS,))
    assert not {"seed", "scale", "now"} & document.keys()
    assert "sequences" not in json.loads(ENCODED)["entities"][0]


def test_the_order_of_keys_and_blanks_do_not_matter() -> None:
    """The identity depends only on the content."""
    document = json.loads(ENCODED)
    turned = json.dumps(dict(reversed(document.items())), indent=7).encode()
    assert decode(turned, where=WHERE) == sample()


def test_sums_and_lookups() -> None:
    """Rows, bytes, chunks, and entities by name."""
    manifest = sample()
    assert (manifest.rows, manifest.bytes) == (151, 3000)
    users = manifest.entity("users")
    assert users is not None
    assert [chunk.first_key for chunk in users.chunks] == [1, 51, 101]
    assert [kind.name for kind in users.kinds] == ["bigint", "character varying(40)"]
    assert manifest.entity("nobody") is None
    assert manifest.chosen([]) == list(manifest.entities)
    assert [record.name for record in manifest.chosen(["posts"])] == ["posts"]
    with pytest.raises(UsageError, match="no such entity") as caught:
        manifest.chosen(["post"])
    assert caught.value.expected == "one of: users, posts"


def setting(*path: str | int) -> Callable[[object], Callable[[Document], None]]:
    """A change that sets a value in the document."""

    def with_value(value: object) -> Callable[[Document], None]:
        def change(document: Document) -> None:
            target: Any = document
            for step in path[:-1]:
                target = target[step]
            target[path[-1]] = value

        return change

    return with_value


def chunks_of(*rows: int) -> Callable[[Document], None]:
    """A change that sets the rows of the first file's chunks."""

    def change(document: Document) -> None:
        for chunk, count in zip(document["entities"][0]["files"][0]["chunks"], rows, strict=True):
            chunk["rows"] = count

    return change


FIRST = ("entities", 0)
FIRST_FILE = (*FIRST, "files", 0)
BAD: dict[str, tuple[Callable[[Document], None], str]] = {
    "a newer format": (setting("format")(5), "upgrade snapseed"),
    "the format of other keys": (setting("format")(2), "format 2, but the content of format 1"),
    "first keys of several columns for a key of one": (
        setting(*FIRST_FILE, "chunks", 0, "first_key")([1, 2]),
        "one value, of the key's types",
    ),
    "an older format": (setting("format")(0), "generate the snapshot again"),
    "a format that is no number": (setting("format")(bool(1)), "no number `format`"),
    "no format": (lambda document: document.pop("format"), "no number `format`"),
    "no identity": (lambda document: document.pop("seed"), "seed"),
    "a missing field": (lambda document: document["entities"][0].pop("table"), "table"),
    "an extra field": (setting("owner")("me"), "owner"),
    "an extra field of a file": (setting(*FIRST_FILE, "url")("http://x"), "url"),
    "a number for a text": (setting("name")(3), "Expected `str`"),
    "rows as text": (setting(*FIRST, "rows")("150"), "Expected `int`"),
    "a name with a slash": (setting("name")("../ci"), "matching regex '^[a-z0-9]"),
    "an empty name": (setting("name")(""), "matching regex '^[a-z0-9]"),
    "a path above the folder": (setting(*FIRST_FILE, "path")("../users.parquet"), "files[0].path"),
    "a path out of a folder": (setting(*FIRST_FILE, "path")("users/../../x.parquet"), "files[0].path"),
    "an absolute path": (setting(*FIRST_FILE, "path")("/etc/passwd"), "files[0].path"),
    "a path of another system": (setting(*FIRST_FILE, "path")("..\\users.parquet"), "files[0].path"),
    "a path with a line break": (setting(*FIRST_FILE, "path")("users.parquet\n"), "files[0].path"),
    "a path with a NUL": (setting(*FIRST_FILE, "path")("users\0.parquet"), "files[0].path"),
    "a path that is the manifest": (setting(*FIRST_FILE, "path")("manifest.json"), "files[0].path"),
    "a NUL in a table": (setting(*FIRST, "table")("us\0ers"), "identifier of 1 to 63 bytes"),
    "an empty schema": (setting(*FIRST, "schema")(""), "identifier of 1 to 63 bytes"),
    "a long column": (setting(*FIRST, "columns", 1, "name")("ä" * 32), "identifier of 1 to 63 bytes"),
    "a column twice": (setting(*FIRST, "columns", 1, "name")("id"), "each column once"),
    "a key that is no column": (setting(*FIRST, "key")("code"), "each column once, the key among them"),
    "an entity twice": (setting("entities", 1, "name")("users"), "a repeated name among ['users', 'users']"),
    "a file twice": (
        setting(*FIRST, "files", 1, "path")("users/part-00000.parquet"),
        "a repeated name among ['users/part",
    ),
    "an unknown parent": (setting("entities", 1, "parent")("people"), "an entity of this manifest"),
    "SQL for a type": (setting(*FIRST, "columns", 1, "type")("text; DROP TABLE x"), "the name of a PostgreSQL type"),
    "a vector of no size": (setting(*FIRST, "columns", 1, "type")("vector"), "the name of a PostgreSQL type"),
    "rows that do not add up": (setting(*FIRST, "rows")(151), "the sum of its chunks: 150 rows"),
    "rows of a file that do not add up": (setting(*FIRST_FILE, "rows")(101), "the sum of its chunks"),
    "a chunk without rows": (chunks_of(0, 100), ">= 1"),
    "a chunk of less than nothing": (chunks_of(-50, 150), ">= 1"),
    "a fingerprint that does not add up": (setting(*FIRST, "fingerprint")("0" * 16), "0000000000000002"),
    "a fingerprint of other digits": (setting(*FIRST, "fingerprint")("0x0000000000000"), "[0-9a-f]{16}"),
    "a chunk's fingerprint of other digits": (
        setting(*FIRST_FILE, "chunks", 0, "fingerprint")("F" * 16),
        "[0-9a-f]{16}",
    ),
    "a digest that is none": (setting(*FIRST_FILE, "sha256")("ab"), "[0-9a-f]{64}"),
    "a size below zero": (setting(*FIRST_FILE, "bytes")(-1), ">= 0"),
    "a time without a zone": (setting("now")("2026-01-01T00:00:00"), "timezone"),
    **{
        f"a table of the system in {schema}": (setting(*FIRST, "schema")(schema), "a table of your own")
        for schema in ("pg_catalog", "pg_toast", "pg_temp_3", "information_schema", "snapseed")
    },
    "a table of the system on the search path": (setting(*FIRST, "table")("pg_authid"), "a table of your own"),
    **{
        f"{character!r} in {what}": (setting(*place)(f"a{character}b"), "without control characters")
        for character in ("\n", "\x1b", "\x07", "\x7f", "\x9b", "\u202e", "\u2028", "\u2066")
        for what, place in {
            "an entity": ("entities", 1, "name"),
            "a table": (*FIRST, "table"),
            "a schema": (*FIRST, "schema"),
            "a column": (*FIRST, "columns", 1, "name"),
            "a pool": ("pools", "words"),
            "a version": ("libraries", "polars"),
        }.items()
    },
    "a type with an escape": (setting(*FIRST, "columns", 1, "type")('"a\x1b[2J"'), "the name of a PostgreSQL type"),
    **{
        f"{number} for {what}": (setting(*place)(number), f"$.{place[0]}")
        for what, place, numbers in (
            ("the seed", ("seed",), (-1,)),
            ("the scale", ("scale",), (-1, 0, 2**48, 2**200)),
            ("part_rows", ("part_rows",), (-1, 0, 2**63, 2**200)),
            ("chunk_rows", ("chunk_rows",), (-1, 0, 2**63, 2**200)),
            ("rows", (*FIRST, "rows"), (-1, 2**63, 2**200)),
            ("the rows of a file", (*FIRST_FILE, "rows"), (-1, 2**63, 2**200)),
            ("the rows of a chunk", (*FIRST_FILE, "chunks", 0, "rows"), (-1, 0, 2**63, 2**200)),
            ("bytes", (*FIRST_FILE, "bytes"), (2**63, 2**200)),
        )
        for number in numbers
    },
    "a seed of 65 bits": (setting("seed")(2**64), "a number below 2^64"),
    "a short chunk before the last": (chunks_of(40, 60), "50 rows (chunk_rows) in each chunk"),
    "a chunk larger than chunk_rows": (setting("chunk_rows")(49), "49 rows (chunk_rows) in each chunk"),
}


LINKS = ("entities", 2)
LINKS_FIRST_KEY = (*LINKS, "files", 0, "chunks", 0, "first_key")
BAD_LINKS: dict[str, tuple[Callable[[Document], None], str]] = {
    "the format of keys of one column": (setting("format")(1), "format 1, but the content of format 2"),
    "a key of one column in a list": (setting(*LINKS, "key")(["user_id"]), "several different ones"),
    "a key of no column": (setting(*LINKS, "key")([]), "only in a capture"),
    "a column twice in a key": (setting(*LINKS, "key")(["user_id", "user_id"]), "several different ones"),
    "no column of the entity in a key": (setting(*LINKS, "key")(["user_id", 'x"; --']), "the key among them"),
    "a number in a key": (setting(*LINKS, "key")(["user_id", 1]), "Expected `str`"),
    "a first key of one value": (setting(*LINKS_FIRST_KEY)(1), "a list of 2 values, of the key's types"),
    "a first key of too many": (setting(*LINKS_FIRST_KEY)([1, "a", 2]), "a list of 2 values, of the key's types"),
    "a first key without a value": (setting(*LINKS_FIRST_KEY)([1, None]), "first_key"),
    "a first key of other types": (setting(*LINKS_FIRST_KEY)(["1", "a"]), "a list of 2 values, of the key's types"),
    "a first key of truth": (setting(*LINKS_FIRST_KEY)([True, "a"]), "first_key"),
    "lists in a first key": (setting(*LINKS_FIRST_KEY)([1, ["a"]]), "first_key"),
}


SEQUENCE = ("entities", 0, "sequences", 0)
BAD_CAPTURES: dict[str, tuple[Callable[[Document], None], str]] = {
    "a seed too": (setting("seed")(1), "in place of all three"),
    "neither": (lambda document: document.pop("capture"), "format 3, but the content of format 2"),
    "the format of a generated one": (setting("format")(1), "format 1, but the content of format 3"),
    "a first key": (setting("entities", 0, "files", 0, "chunks", 0, "first_key")("a"), "a list of 0 values"),
    "a sequence of the server's": (setting(*SEQUENCE, "schema")("pg_catalog"), "a table of your own"),
    "a sequence that no terminal shows": (setting(*SEQUENCE, "name")("a\x1b"), "without control characters"),
    "a position that is none": (setting(*SEQUENCE, "last_value")(2**63), "last_value"),
    "a free sequence of the server's": (setting("capture", "sequences", 0, "schema")("pg_toast"), "of your own"),
    "a masked column that no terminal shows": (setting("capture", "masked")(["a\nb"]), "without control characters"),
    "another schema file": (setting("capture", "schema", "path")("../schema.sql"), "path"),
}


ALL_BAD = [
    pytest.param(encoded, *case, id=name)
    for encoded, cases in ((ENCODED, BAD), (LINKED, BAD_LINKS), (CAPTURED, BAD_CAPTURES))
    for name, case in cases.items()
]


@pytest.mark.parametrize(("encoded", "change", "words"), ALL_BAD)
def test_a_bad_manifest_is_an_error_that_says_what_is_wrong(
    encoded: bytes, change: Callable[[Document], None], words: str
) -> None:
    """Even if its identity matches. Keys of several columns and what only captures have are checked as strictly."""
    document = json.loads(encoded)
    change(document)
    with pytest.raises(ManifestError) as caught:
        decode(signed(document), where=WHERE)
    assert words in str(caught.value)
    assert (caught.value.where or "").startswith(WHERE)
    assert caught.value.next_step


NOT_MANIFESTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "truncated"),
    "truncated": (ENCODED[:-20], "truncated"),
    "an LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
    "a list": (b"[]", "no number `format`"),
    "not JSON": (b"PAR1", "malformed"),
    "not UTF-8": (ENCODED.replace(b'"users"', b'"us\xffrs"', 1), "invalid"),
    "half a character": (ENCODED.replace(b'"users"', b'"\\ud800"', 1), "surrogate"),
    "too deep": (b"[" * 100_000, "recursion"),
    "a number of 400 digits": (ENCODED.replace(b'"scale": 300', b'"scale": ' + b"9" * 400, 1), "$.scale"),
    "a number of 5,000 digits": (ENCODED.replace(b'"scale": 300', b'"scale": ' + b"9" * 5000, 1), "out of range"),
    "a number of 70 bits": (ENCODED.replace(b'"scale": 300', b'"scale": ' + str(2**70).encode(), 1), "$.scale"),
    "changed": (ENCODED.replace(b'"scale": 300', b'"scale": 301', 1), "changed after it was written"),
    "without identity": (ENCODED.replace(b'"identity"', b'"identify"', 1), "identify"),
}


@pytest.mark.parametrize("case", NOT_MANIFESTS)
def test_a_file_that_is_no_manifest_is_an_error(case: str) -> None:
    """For all bytes: never another exception."""
    data, words = NOT_MANIFESTS[case]
    with pytest.raises(ManifestError) as caught:
        decode(data, where=WHERE)
    assert words in str(caught.value).lower() or words in str(caught.value)


def test_a_manifest_of_any_size_is_not_read() -> None:
    """There is a limit, which is compared before anything is decoded."""
    with pytest.raises(ManifestError, match="67,108,864 bytes"):
        decode(ENCODED + b" " * MOST_BYTES, where=WHERE)


@given(st.binary(max_size=200))
def test_no_bytes_lead_to_another_exception(data: bytes) -> None:
    """Random bytes are not a manifest."""
    with pytest.raises(ManifestError):
        decode(data, where=WHERE)


@given(st.integers(0, len(ENCODED) - 1), st.integers(0, 255))
@example(ENCODED.index(b"users"), 0xFF)
@example(ENCODED.index(b"users"), ord("\\"))
def test_a_changed_byte_is_an_error_or_changes_nothing(position: int, byte: int) -> None:
    """A changed byte is noticed anywhere, except in white space between JSON tokens."""
    changed = ENCODED[:position] + bytes([byte]) + ENCODED[position + 1 :]
    try:
        assert decode(changed, where=WHERE) == sample()
    except ManifestError:
        assert changed != ENCODED


@given(st.integers(0, len(ENCODED) - 1))
def test_a_cut_manifest_is_an_error(length: int) -> None:
    """Wherever it is cut, except before the last line break."""
    if length < len(ENCODED) - 1:
        with pytest.raises(ManifestError):
            decode(ENCODED[:length], where=WHERE)
