"""Generation against other generators: tpchgen-cli (Rust), and Faker and Mimesis, which draw value by value."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import faker
import mimesis
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.measure import Comparison, Findings, Spread, Table, seconds, spreads_in_turns
from benchmarks.processes import PROGRAM, cpu_seconds
from benchmarks.workspace import Workspace
from snapseed import HashingEmbedder
from snapseed.generate.request import Request
from snapseed.generate.snapshot import generate_snapshot
from snapseed.snapshot.store import open_snapshot

PACKAGES = ("tpchgen-cli", "Faker", "mimesis")
_USERS = 50_000
_CUSTOMERS = 50_000
_ROW_BY_ROW_USERS = 30
_TPCHGEN = (
    str(Path(sys.executable).with_name("tpchgen-cli")),
    *("parquet", "--num-threads", "1", "--compression", "ZSTD(1)", "--overwrite"),
)
_DIMENSIONS = 384
_WORDS_PER_CHUNK = 120
_WORDS_PER_SENTENCE = 12

Row = dict[str, object]
Embed = Callable[[str], object]


def measure_peers(workspace: Workspace) -> Findings:
    """Whole processes that write about a gigabyte, then rows that are not written, then two processes."""
    comparisons = (_business_schema(workspace), _against_tpchgen(workspace), *_against_row_by_row(workspace))
    return Findings(comparisons, (_one_and_two_processes(workspace),))


def _business_schema(workspace: Workspace) -> Comparison:
    """A plain business schema, in cells per second of CPU time, because widths differ."""
    project, theirs = workspace.small_project("business"), workspace.project.folder / "tpch-cells"
    customers = workspace.rows(_CUSTOMERS)
    ours = (*PROGRAM, "generate", "dev", "--scale", str(customers), "--jobs", "1", "--quiet")
    scale = ("-s", f"{min(workspace.scale, 1) / 10:g}", "--output-dir", str(theirs))
    our_times, their_times = spreads_in_turns(
        workspace.rounds,
        partial(cpu_seconds, *ours, "--project", str(project.folder)),
        partial(cpu_seconds, *_TPCHGEN, *scale),
    )
    our_cells, their_cells = (
        sum(map(_cells, folder.rglob("*.parquet"))) for folder in (project.snapshots.folder / "dev", theirs)
    )
    shutil.rmtree(theirs)
    our_speed = Spread(tuple(our_cells / 1e6 / taken for taken in our_times.values))
    their_speed = Spread(tuple(their_cells / 1e6 / taken for taken in their_times.values))
    return Comparison(
        f"a business schema, {our_cells / 1e6:.1f} M cells, start to exit: CPU time per cell",
        f"`tpchgen-cli`, one thread, {their_cells / 1e6:.1f} M cells of its own tables, fingerprints not included",
        their_speed / our_speed,
        f"{our_speed.median:.1f} M cells/s, `tpchgen-cli` {their_speed.median:.1f} M cells/s",
        1.43,
    )


def _cells(path: Path) -> int:
    """Rows times columns of a Parquet file."""
    metadata = pq.read_metadata(path)
    return int(metadata.num_rows * metadata.num_columns)


def _against_tpchgen(workspace: Workspace) -> Comparison:
    theirs, name = workspace.project.folder / "tpch", "throughput"
    scale = ("-s", f"{min(workspace.scale, 1):g}", "--output-dir", str(theirs))
    ours = workspace.project.snapshots.folder / name
    our_times, their_times = spreads_in_turns(
        min(workspace.rounds, 3),
        partial(cpu_seconds, *_generate(workspace, name, workspace.rows(_USERS))),
        partial(cpu_seconds, *_TPCHGEN, *scale),
    )
    our_size, their_size = (sum(map(_arrow_bytes, folder.rglob("*.parquet"))) for folder in (ours, theirs))
    shutil.rmtree(theirs)
    our_speed = Spread(tuple(our_size / 1e6 / taken for taken in our_times.values))
    their_speed = Spread(tuple(their_size / 1e6 / taken for taken in their_times.values))
    return Comparison(
        f"`tpchgen-cli`, one thread, {their_size / 1e6:,.0f} MB of Arrow data: MB per second of CPU time",
        f"`snapseed generate --jobs 1`, {our_size / 1e6:,.0f} MB, start to exit, fingerprints included",
        their_speed / our_speed,
        f"{their_speed.median:.0f} MB/s ÷ {our_speed.median:.0f} MB/s",
        1.0,
    )


def _against_row_by_row(workspace: Workspace) -> tuple[Comparison, ...]:
    request = Request("row-by-row", workspace.project.seed, workspace.rows(10_000))
    generate = partial(generate_snapshot, workspace.project, request)
    manifest = generate().manifest
    users = max(3, round(_ROW_BY_ROW_USERS * workspace.scale))
    counts = [max(1, entity.rows * users // manifest.entities[0].rows) for entity in manifest.entities]
    words = _mean_words(workspace, request.name)
    peers = (
        ("Faker row by row", by_faker, embedding, 0.01),
        ("Mimesis row by row", by_mimesis, embedding, 0.1),
        ("Faker row by row, random numbers as vectors", by_faker, random_numbers, None),
        ("Mimesis row by row, random numbers as vectors", by_mimesis, random_numbers, None),
    )
    ours, *others = spreads_in_turns(
        min(workspace.rounds, 3),
        lambda: manifest.rows / seconds(generate, time.process_time),
        *(partial(_rate, partial(library, counts, words, embed)) for _, library, embed, _ in peers),
    )
    return tuple(
        Comparison(
            f"{name}, not written: rows per second of CPU time",
            "`generate_snapshot`, one process",
            theirs / ours,
            f"{theirs.median:,.0f} rows/s ÷ {ours.median:,.0f} rows/s: {(ours / theirs).median:,.0f} times",
            target,
        )
        for (name, _, _, target), theirs in zip(peers, others, strict=True)
    )


def _rate(make: Callable[[], int]) -> float:
    started = time.process_time()
    rows = make()
    return rows / (time.process_time() - started)


def _mean_words(workspace: Workspace, name: str) -> int:
    """The mean number of words in a transcript."""
    snapshot = open_snapshot(workspace.project.snapshots, name)
    record = snapshot.manifest.entity("transcripts")
    assert record is not None
    with snapshot.open_part(record, record.files[0]) as part:
        return round(float(pc.mean(part.parquet.read(columns=["word_count"]).column(0)).as_py()))


def _one_and_two_processes(workspace: Workspace) -> Table:
    users = workspace.rows(_USERS // 2)

    def wall_clock(jobs: int) -> float:
        command = _generate(workspace, "jobs", users, jobs)
        return seconds(partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL))

    one, two = spreads_in_turns(min(workspace.rounds, 3), partial(wall_clock, 1), partial(wall_clock, 2))
    ratio = two / one
    rows = [(f"{users:,} users", f"{one.median:.1f} s", f"{two.median:.1f} s", f"{ratio.median:.2f}", ratio.range)]
    text = (
        "Wall-clock seconds, start to exit. The best possible ratio is 0.5, if nothing else runs on the two cores and"
        " they are not two threads of one physical core."
    )
    return Table("One process and two", text, ("scale", "1", "2", "ratio", "spread"), rows)


def _generate(workspace: Workspace, name: str, users: int, jobs: int = 1) -> tuple[str, ...]:
    options = ("--snapshot", name, "--scale", str(users), "--jobs", str(jobs), "--quiet")
    return (*PROGRAM, "generate", "dev", *options, "--project", str(workspace.project.folder))


def _arrow_bytes(path: Path) -> int:
    """The size of a file's rows in Arrow, with texts as bytes and offsets (views would be larger)."""
    with pq.ParquetFile(path) as file:
        return sum(_plain_bytes(file.read_row_group(number)) for number in range(file.num_row_groups))


def _plain_bytes(table: pa.Table) -> int:
    columns = [
        column.cast(pa.large_string()).cast(pa.string()) if pa.types.is_string_view(column.type) else column
        for column in table.columns
    ]
    return sum(column.nbytes for column in columns)


def by_faker(counts: Sequence[int], words: int, embed: Embed) -> int:
    """Draw the four entities of the example with Faker, `words` words per transcript; return the number of rows.

    Nothing is hashed or written. Faker has no embeddings, so the caller passes a function that makes one from a text.
    """
    fake = faker.Faker()
    fake.seed_instance(1)
    moment = fake.date_time_this_decade
    users = _rows(
        counts[0],
        lambda: {
            "id": fake.uuid4(),
            "email": fake.email(),
            "username": fake.user_name(),
            "display_name": fake.name(),
            "locale": fake.locale(),
            "timezone": fake.timezone(),
            "plan": fake.random_element(("free", "pro", "team")),
            "is_active": fake.boolean(),
            "preferences": fake.json(data_columns=[("theme", "word"), ("digest", "word")], num_rows=1),
            "created_at": moment(),
            "updated_at": moment(),
        },
    )
    shares = _rows(
        counts[1],
        lambda: {
            "id": fake.uuid4(),
            "user_id": fake.random_element(users)["id"],
            "url": fake.url(),
            "platform": fake.random_element(("youtube", "tiktok", "podcast")),
            "title": fake.sentence(),
            "description": fake.text(100),
            "status": fake.random_element(("done", "pending", "error")),
            "view_count": fake.random_int(0, 100_000),
            "tags": fake.words(3),
            "metadata": fake.json(data_columns=[("topic", "word"), ("language", "word")], num_rows=1),
            "created_at": moment(),
            "updated_at": moment(),
        },
    )
    transcripts = _rows(
        counts[2],
        lambda: {
            "id": fake.uuid4(),
            "share_id": fake.random_element(shares)["id"],
            "language": fake.language_code(),
            **_speech([fake.sentence(_WORDS_PER_SENTENCE) for _ in range(words // _WORDS_PER_SENTENCE)]),
            "duration_seconds": fake.random_int(20, 400),
            "topic": fake.word(),
            "confidence": fake.pydecimal(left_digits=0, right_digits=3, positive=True),
            "created_at": moment(),
        },
    )
    chunks = _chunks(counts[3], fake.uuid4, lambda: fake.random_element(transcripts), embed)
    return sum(map(len, (users, shares, transcripts, chunks)))


def by_mimesis(counts: Sequence[int], words: int, embed: Embed) -> int:
    """Draw the same with Mimesis."""
    make = mimesis.Generic(locale=mimesis.Locale.EN, seed=1)
    users = _rows(
        counts[0],
        lambda: {
            "id": make.cryptographic.uuid(),
            "email": make.person.email(),
            "username": make.person.username(),
            "display_name": make.person.full_name(),
            "locale": make.code.locale_code(),
            "timezone": make.datetime.timezone(),
            "plan": make.choice(["free", "pro", "team"]),
            "is_active": make.development.boolean(),
            "preferences": f'{{"theme": "{make.text.word()}", "digest": "{make.text.word()}"}}',
            "created_at": make.datetime.datetime(),
            "updated_at": make.datetime.datetime(),
        },
    )
    shares = _rows(
        counts[1],
        lambda: {
            "id": make.cryptographic.uuid(),
            "user_id": make.choice(users)["id"],
            "url": make.internet.url(),
            "platform": make.choice(["youtube", "tiktok", "podcast"]),
            "title": make.text.title(),
            "description": make.text.sentence(),
            "status": make.choice(["done", "pending", "error"]),
            "view_count": make.numeric.integer_number(0, 100_000),
            "tags": make.text.words(3),
            "metadata": f'{{"topic": "{make.text.word()}", "language": "{make.text.word()}"}}',
            "created_at": make.datetime.datetime(),
            "updated_at": make.datetime.datetime(),
        },
    )
    transcripts = _rows(
        counts[2],
        lambda: {
            "id": make.cryptographic.uuid(),
            "share_id": make.choice(shares)["id"],
            "language": make.code.locale_code(),
            **_speech([make.text.sentence() for _ in range(words // _WORDS_PER_SENTENCE)]),
            "duration_seconds": make.numeric.integer_number(20, 400),
            "topic": make.text.word(),
            "confidence": make.numeric.decimal_number(0, 1),
            "created_at": make.datetime.datetime(),
        },
    )
    chunks = _chunks(counts[3], make.cryptographic.uuid, lambda: make.choice(transcripts), embed)
    return sum(map(len, (users, shares, transcripts, chunks)))


def _rows(count: int, row: Callable[[], Row]) -> list[Row]:
    return [row() for _ in range(count)]


def _speech(sentences: Sequence[str]) -> Row:
    body = " ".join(sentences)
    segments = [{"start": 7 * number, "end": 7 * number + 6, "text": text} for number, text in enumerate(sentences)]
    return {"body": body, "segments": segments, "word_count": body.count(" ") + 1}


def random_numbers(_text: str) -> object:
    """Random numbers as the vector of any text."""
    return [random.uniform(-1, 1) for _ in range(_DIMENSIONS)]


def embedding(text: str) -> object:
    """The vector of this text, from the embedder that the example uses."""
    return HashingEmbedder().embed(pl.Series([text]))[0]


def _chunks(count: int, key: Callable[[], object], draw_transcript: Callable[[], Any], embed: Embed) -> list[Row]:
    def row() -> Row:
        transcript = draw_transcript()
        content = " ".join(transcript["body"].split(" ")[:_WORDS_PER_CHUNK])
        return {
            "id": key(),
            "transcript_id": transcript["id"],
            "chunk_index": 0,
            "content": content,
            "model": HashingEmbedder.model,
            "embedding": embed(content),
        }

    return _rows(count, row)
