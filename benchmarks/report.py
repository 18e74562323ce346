"""The report, docs/benchmarks.md: its text, its tables, and the sections that are measured separately."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import generation_peers, load_peers, reset
from benchmarks.measure import Findings, aligned
from benchmarks.workspace import Workspace
from snapseed.generate.parallel import available_cores

_LIBRARIES = ("polars", "pyarrow", "numpy", "psycopg")

_OPENING = """\
# Benchmarks

How fast snapseed loads, generates and verifies. Most results are ratios to a lower bound: a server that reads the same
bytes from its own file, or a writer that writes the same tables and does nothing else. `make bench` writes this file.
`make bench-generate`, `make bench-load`, `make bench-reset`, `make bench-capture` and `make bench-embeddings` update
the sections of the same names, and `make bench-diff` updates "Differences". Each takes a few minutes. Do not edit
this file by hand.

## How to run

```text
$ make bench                                                    # everything except the sections below
$ make bench-generate                                           # "Generation": other generators, steps, scales
$ make bench-load                                               # "Loads": targets, other tools, memory
$ make bench-large                                              # the same, and the memory of loading 20 million rows
$ make bench-reset                                              # "Test databases"
$ make bench-diff                                               # "Differences" of databases and snapshots
$ make bench-capture                                            # "Captures": a living database into a snapshot
$ make bench-embeddings                                         # "Embeddings": the queue and its workers
$ .venv/bin/python benchmarks/run.py copy fingerprint           # only these two; does not update this file
$ .venv/bin/python benchmarks/run.py --scale 0.05 --rounds 2    # a quick look; does not update this file
```

Each run uses a temporary project with its own embedded PostgreSQL, and deletes both at the end.
"""


@dataclass(frozen=True)
class Section:
    """A section that is measured separately, perhaps on another day.

    `packages` are named with their versions, `repeats` multiplies the rounds, `rounds` notes exceptions from them;
    `before` and `after` surround the text that every section has.
    """

    packages: Sequence[str]
    repeats: int = 1
    rounds: str = ""
    before: str = ""
    after: str = ""


SECTIONS: Mapping[str, Section] = {
    "Generation": Section(
        generation_peers.PACKAGES,
        rounds=" (peers and whole processes: at most 3; parts: twice as many)",
        after=" CPU time is user plus system time of all threads. MB of Arrow data are counted as read back from the"
        " files, in the same way for all: texts as bytes and offsets, vectors as float16.",
    ),
    "Loads": Section(
        load_peers.PACKAGES,
        rounds=" (peers: at most 3; COPY phase: three times as many; start to exit: 15)",
    ),
    "Test databases": Section(
        reset.PACKAGES,
        repeats=reset.MORE_ROUNDS,
        before="`snapshots/test`: a few hundred rows in a database of 9 MB and 300 files, most of them PostgreSQL's own"
        " catalogs. ",
        after=" By default, the plugin creates databases ahead. Most of the time of a copy goes into creating files in"
        " the kernel. On ext4 without a journal, this takes several times as long after databases were dropped, because"
        " the kernel skips the inodes of recently deleted files. That slows down copies and resets, but not loads or"
        " pgmem, which works in memory.",
    ),
    "Differences": Section(
        ("polars", "reladiff"), after=" The rows were changed evenly over the table. All read from a warm cache."
    ),
    "Captures": Section(
        load_peers.PACKAGES,
        after=" All of them start with a process and end with its exit; the lower bound has none.",
    ),
    "Beyond one machine": Section(("obstore",), before="SeaweedFS serves S3 on this machine, on the same cores. "),
    "Embeddings": Section(("redis", "hiredis", "rq"), rounds=" (enqueueing a million: 1)"),
    "Published schemas": Section(()),
}
_AFTER_SECTIONS = "## How to read the results\n"

_READING = f"""\
{_AFTER_SECTIONS}
- A ratio compares two things that were measured in turns (A B A B …) in the same run, round by round. It is the median;
  the spread gives the lowest and the highest. The last column shows absolute times to give an idea of the size. On
  shared machines they drift by half within hours, so do not compare them between runs.
- The lower bound for COPY is `COPY FROM 'file' (FORMAT binary, FREEZE)`: the server reads, from its cache, a file with
  exactly the bytes that snapseed would send. No client can be faster over a socket: the server does the same work, and
  somebody must produce and transfer the bytes.
- Both sides of the COPY phase have no indexes, constraints or commit. The whole load and its phases show what those
  cost.
- A load keeps three threads busy: the server, the sender, and the thread that reads and encodes. With fewer free cores
  they wait for each other, and the ratio of wall-clock times rises above that of CPU times.
- Generation is measured in CPU time of all threads of one process, because polars uses several and other load on the
  machine should not count. `snapseed generate` uses one process per core. Parts do not depend on each other, so the
  wall-clock time falls with the number of processes.
- Peak memory is that of the client. The server's memory depends on its configuration.
"""

_WEAK = """\
## Weaknesses

- **Checks cost more than rows.** Most of the time of a load, beyond COPY into a bare table, goes into the table's own
  constraints and formats on the server: CHECKs with regular expressions, TOAST compression of long texts, parsing of
  jsonb. snapseed does not drop CHECKs to be faster.
- **Verification reads everything.** Every load pays for one more pass over the rows on the server. `--no-verify` skips
  it, and with it the proof that snapseed exists for. Wide values cost most: a vector is hashed element by element on
  the client and detoasted on the server.
- **Draws are NumPy and polars.** A generator in Rust produces more per second of CPU time, and does not hash. Here,
  every draw reads and writes whole columns. The fingerprint is compiled.
- **Wide rows dominate generation.** Transcripts and embeddings are some of the rows and most of the work. A table with
  short columns is closer to the lower bound. The first words in a process cost more than later ones, whose vectors are
  known.
- **A billion root rows have a large manifest.** Parts are planned one by one, but their records, about 4 kB each, stay
  in memory until the manifest is written. A larger `part_rows` means fewer of them.
- **Small loads wait for fixed costs.** Below a few thousand rows, planning, verifying, committing and ANALYZE take
  longer than the rows, and the first batch must be read and encoded before anything is sent.
- **One connection.** A load is one transaction on one connection, so it uses no more than the two or three cores that
  decode, send and receive.
- **Resetting a small snapshot is no faster than loading it.** Copying a database and dropping the old one creates and
  deletes 300 files each, whatever they contain; loading a few hundred rows costs about the same. But a reset also
  restores what a load leaves alone. If no database is ready, a test waits for a copy, and pgmem is faster.
- **Two workers need four cores.** Each keeps one core busy with embedding and one PostgreSQL backend with writing, in
  turns. If both share two cores with the servers and other programs, they cannot be twice as fast.
- **Queues of single jobs.** RQ and the loop around `BRPOP` pay for each text what a snapseed worker pays for each
  batch: the round trips, a COMMIT, and the overhead of calling polars and NumPy. A slow model would hide most of that.
- **These numbers.** They come from one machine, usually a small virtual one on a shared host. The server is local,
  behind a Unix socket; over a network, bandwidth sets the limit. The file for the lower bound is in the system's cache.
  Nothing here was measured with a database larger than memory.
"""


def describe_machine(workspace: Workspace) -> list[tuple[str, ...]]:
    """The machine, how busy it is, and the versions of what is measured."""
    with workspace.connection("machine") as connection:
        row = connection.execute("SHOW server_version").fetchone()
    assert row is not None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        ("date", _today()),
        ("cores", str(available_cores())),
        ("processor", _processor()),
        ("memory", f"{memory:.0f} GiB"),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("load average at the start", f"{os.getloadavg()[0]:.1f}"),
        ("snapseed", importlib.metadata.version("snapseed")),
        ("Python", platform.python_version()),
        ("PostgreSQL", f"{str(row[0]).split(' ', maxsplit=1)[0]}, embedded, with the settings of `snapseed db start`"),
        *((name, importlib.metadata.version(name)) for name in _LIBRARIES),
    ]


def render(found: Mapping[str, Findings], machine: list[tuple[str, ...]], *, rounds: int, seconds: float) -> str:
    """The report as Markdown, without the sections."""
    tables = [str(table) for findings in found.values() for table in findings.tables]
    measured = (
        f"{rounds} rounds (whole loads: at most 3, start-up: 15), {seconds / 60:.0f} minutes."
        " Ratios should not exceed their target."
    )
    return "\n".join(
        [
            _OPENING,
            "## Machine\n",
            aligned(("", ""), machine) + "\n",
            *(["## Ratios\n", measured + "\n", ratios] if (ratios := _ratios(found)) else []),
            _READING,
            _WEAK,
            "## Details\n",
            *tables,
        ]
    )


def render_section(
    section: str, found: Mapping[str, Findings], *, load_average: float, rounds: int, seconds: float
) -> str:
    """A section as Markdown, with its own date and versions."""
    described = SECTIONS[section]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("snapseed", *described.packages))
    text = (
        f"{described.before}Measured on {_today()} in {seconds / 60:.0f} minutes, with a load average of"
        f" {load_average:.1f} at the start, using {versions}. {described.repeats * rounds} rounds{described.rounds}."
        f" Ratios should not exceed their target.{described.after}"
    )
    return "\n".join(
        [
            _heading(section),
            text + "\n",
            _ratios(found),
            *(str(table) for findings in found.values() for table in findings.tables),
        ]
    )


def _ratios(found: Mapping[str, Findings]) -> str:
    """All comparisons as one table; empty if there is none."""
    rows = [
        (
            line.what,
            line.baseline,
            f"**{line.ratio.median:.2f}**",
            "" if line.target is None else f"{line.target}",
            line.ratio.range,
            line.absolute,
        )
        for findings in found.values()
        for line in findings.comparisons
    ]
    return aligned(("what", "÷ what", "ratio", "target", "spread", "measured"), rows) + "\n" if rows else ""


def section_of(page: str, section: str) -> str:
    """The text of a section in a report; empty if the report does not have it."""
    _, heading, rest = page.partition(_heading(section))
    later = [_heading(name) for name in list(SECTIONS)[list(SECTIONS).index(section) + 1 :]]
    for end in (*later, _AFTER_SECTIONS):
        rest = rest.partition(end)[0]
    return heading + rest


def with_sections(page: str, sections: Mapping[str, str]) -> str:
    """A report in which `sections` replace the sections of the same names, or are added."""
    every = {name: sections.get(name) or section_of(page, name) for name in SECTIONS}
    for name in SECTIONS:
        if old := section_of(page, name):
            page = page.replace(old, "")
    before, heading, after = page.partition(_AFTER_SECTIONS)
    return "".join([before, *(f"{text.rstrip()}\n\n" for text in every.values() if text), heading, after])


def _heading(section: str) -> str:
    return f"## {section}\n"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
