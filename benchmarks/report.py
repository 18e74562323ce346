"""The report: what is measured, on which machine, the tables, and how to read them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import generators, reset
from benchmarks.measure import Findings, aligned
from benchmarks.peers import PACKAGES
from benchmarks.place import Place
from snapseed.generate.part import available_cores

_LIBRARIES = ("polars", "pyarrow", "numpy", "psycopg")

_OPENING = """\
# Benchmarks

How fast snapseed loads, generates and verifies, as ratios to the least that could be done: a server that reads the
same bytes from its own file, a writer that writes the same tables and does nothing else. Written by `make bench`, and
the sections "Generation", "Loads", "Test databases" and "Embeddings" by `make bench-generate`, `make bench-load`,
`make bench-reset` and `make bench-embeddings`; each takes some minutes. Nothing in this file is edited by hand.

## How to run

```text
$ make bench                                                    # everything but the sections of the others
$ make bench-generate                                           # the section "Generation": peers, steps, scales
$ make bench-load                                               # the section "Loads": bars, peers and memory
$ make bench-large                                              # the same, with 20 million rows as well
$ make bench-reset                                              # the section "Test databases"
$ make bench-embeddings                                         # the section "Embeddings": queue and workers
$ .venv/bin/python benchmarks/run.py copy fingerprint           # these two, printed only
$ .venv/bin/python benchmarks/run.py --scale 0.05 --rounds 2    # a quick look
```

Each run works in a temporary project with an embedded PostgreSQL of its own, and removes both.
"""


@dataclass(frozen=True)
class Section:
    """A section that may be measured on another day: with which packages, how often, and what is to be known of it."""

    packages: Sequence[str]
    repeats: int = 1
    rounds: str = ""
    before: str = ""
    after: str = ""


SECTIONS: Mapping[str, Section] = {
    "Generation": Section(
        generators.PACKAGES,
        rounds=" (peers, and whole processes: 3 at most; parts: twice as many)",
        after=" CPU time is that of user and system together, all threads. A MB of Arrow data counts as read back from"
        " the files, the same way for all: texts as bytes and offsets, vectors as float16.",
    ),
    "Loads": Section(PACKAGES, rounds=" (peers: 3 at most; COPY phase: three times as many; start to exit: 15)"),
    "Test databases": Section(
        reset.PACKAGES,
        repeats=6,
        before="`snapshots/test`: some hundred rows in a database of 9 MB and 300 files, most of which are PostgreSQL's"
        " own catalogs. ",
        after=" *Made ahead* is what the plugin does by default. Most of a copy is the making of files in the kernel:"
        " on ext4 without a journal, where each passes over the places of files deleted in the last minutes, it takes"
        " several times as long once databases have been dropped. That slows copies and resets, but neither loads nor"
        " pgmem, which works in memory.",
    ),
    "Embeddings": Section(("redis", "hiredis", "rq"), rounds=" (enqueueing a million: 1)"),
}
_AFTER_SECTIONS = "## How to read it\n"

_READING = f"""\
{_AFTER_SECTIONS}
- A ratio compares two things measured in turns (A B A B …) within one run, round by round. The middle ratio is given,
  with the lowest and the highest beside it. Absolute times stand in the last column for a feeling of the size: on
  shared machines they drift by half between hours, so they must not be compared between runs.
- The floor of a COPY is `COPY FROM 'file' (FORMAT binary, FREEZE)`: the server reads, from its cache, a file that
  holds exactly what snapseed would send. No client can be faster over a socket: it has to do the same work in the
  server, and someone has to make and carry the bytes.
- The COPY phase is measured without indexes, constraints and commit, on both sides. What those cost shows in the
  whole load and in its phases.
- A load keeps three threads busy: the server, the sender, and the one that reads and encodes. Where a machine has fewer
  free cores than that, they wait for one another, and the ratio on the clock rises above that of CPU time.
- Generation is measured in CPU time of all threads of one process, since polars uses several and other work on the
  machine should not count. `snapseed generate` uses as many processes as there are cores; parts do not depend on one
  another, so the time on the clock falls with them.
- Peak memory is that of the client; the server's is set by its configuration.
"""

_WEAK = """\
## What is weak

- **Checks cost more than rows.** Most of what a load takes beyond COPY into a bare table is spent by the server on
  the table's own constraints and formats: CHECKs with regular expressions, TOAST compression of long texts, parsing of
  jsonb. snapseed does not drop CHECKs to be faster.
- **Verification reads everything.** Every load pays for one more pass over the rows in the server; `--no-verify` is
  there, and gives up what snapseed is for. Wide values cost most: a vector is hashed element by element on the client
  and detoasted on the server.
- **Generation is NumPy and polars.** A generator in Rust makes more than four times as much in a second of CPU time,
  and hashes nothing: every step here reads and writes whole columns, and the fingerprint takes some forty passes over
  each block of 12 bytes. Of two and a half times the time of writing, which is the bar, writing, converting and the
  fingerprint take nearly all, before anything is drawn; only compiled code would go below. Nor are wide rows made a
  hundred times as fast as by Faker: with random numbers for vectors, that would be faster than they can be written.
- **Generation is dominated by what is wide.** Transcripts and embeddings are some of the rows and most of the work;
  the longest text of a chunk decides how many steps its fingerprint takes. A table of short columns is nearer to the
  floor. The first words of a process cost more than later ones, whose vectors are known.
- **A billion root rows have a large manifest.** Parts are planned one by one, but their records, some 4 kB each, are
  kept until the manifest is written. A larger `part_rows` makes fewer of them.
- **Small loads wait for fixed costs.** Below some thousand rows, planning, verifying, committing and ANALYZE take
  longer than the rows, and the first batch has to be read and encoded before anything is sent.
- **One connection.** A load is one transaction on one connection, so it does not use more cores than the two or three
  that decode, send and receive. Of the example's transcripts, more than half the time of COPY is the server's
  compression of long texts by pglz (the embedded one has no lz4): `pg_restore -j2`, which loads two tables at once, is
  faster there than a verified load.
- **Small snapshots are reset no faster than loaded.** A copy and the dropping of the old database cost the making and
  removing of 300 files each, whatever is in them; a load of a few hundred rows costs about as much. A reset also puts
  back what a load leaves alone. Where no database is ready, a test waits for a copy, and pgmem is ahead.
- **Two workers want four cores.** Each keeps one busy with embedding and one backend of PostgreSQL with writing, by
  turns; where both share two cores with the servers and whatever else runs, they cannot be twice as fast.
- **A queue of single jobs.** RQ and the loop around `BRPOP` pay for each text what a worker pays for each batch: the
  round trips, a COMMIT, and what it costs to call polars and NumPy at all. A slow model would hide most of that.
- **These numbers.** One machine, usually a small virtual one with neighbours; the server is local, behind a Unix socket
  (over a network, its bandwidth decides); the floor's file is in the system's cache; nothing here was measured with a
  database larger than memory.
"""


def describe_machine(place: Place) -> list[tuple[str, ...]]:
    """What the numbers were measured on, with how busy it was at the start."""
    with place.connection("machine") as connection:
        row = connection.execute("SHOW server_version").fetchone()
    assert row is not None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        ("date", datetime.now(UTC).date().isoformat()),
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
    """The whole report as Markdown, but for the sections."""
    headlines = [
        (headline.what, headline.floor, f"**{headline.ratio.median:.2f}**", headline.ratio.range, headline.absolute)
        for findings in found.values()
        for headline in findings.headlines
    ]
    tables = [str(table) for findings in found.values() for table in findings.tables]
    measured = f"{rounds} rounds (whole loads: 3 at most, start-up: 15), {seconds / 60:.0f} minutes."
    return "\n".join(
        [
            _OPENING,
            "## Machine\n",
            aligned(("", ""), machine) + "\n",
            *(
                [
                    "## Ratios\n",
                    measured + "\n",
                    aligned(("what", "÷ what", "ratio", "spread", "measured"), headlines) + "\n",
                ]
                if headlines
                else []
            ),
            _READING,
            _WEAK,
            "## In detail\n",
            *tables,
        ]
    )


def render_section(
    section: str, found: Mapping[str, Findings], *, load_average: float, rounds: int, seconds: float
) -> str:
    """A section that may be measured on another day than the rest, so it says when and with what."""
    known = SECTIONS[section]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("snapseed", *known.packages))
    headlines = [
        (
            line.what,
            line.floor,
            f"**{line.ratio.median:.2f}**",
            "" if line.bar is None else f"{line.bar}",
            line.ratio.range,
            line.absolute,
        )
        for findings in found.values()
        for line in findings.headlines
    ]
    return "\n".join(
        [
            _heading(section),
            (
                f"{known.before}Measured on {datetime.now(UTC).date().isoformat()} in {seconds / 60:.0f} minutes, load"
                f" average at the start {load_average:.1f}, with {versions}. {known.repeats * rounds} rounds"
                f"{known.rounds}. A ratio should not exceed its bar.{known.after}\n"
            ),
            aligned(("what", "÷ what", "ratio", "bar", "spread", "measured"), headlines) + "\n",
            *(str(table) for findings in found.values() for table in findings.tables),
        ]
    )


def section_of(page: str, section: str) -> str:
    """A section as it stands in a report; empty where there is none."""
    _, heading, rest = page.partition(_heading(section))
    later = [_heading(name) for name in list(SECTIONS)[list(SECTIONS).index(section) + 1 :]]
    for end in (*later, _AFTER_SECTIONS):
        rest = rest.partition(end)[0]
    return heading + rest


def with_sections(page: str, sections: Mapping[str, str]) -> str:
    """A report with these sections, in place of those of the same names that it may have."""
    every = {name: sections.get(name) or section_of(page, name) for name in SECTIONS}
    for name in SECTIONS:
        if old := section_of(page, name):
            page = page.replace(old, "")
    before, heading, after = page.partition(_AFTER_SECTIONS)
    return "".join([before, *(f"{text.rstrip()}\n\n" for text in every.values() if text), heading, after])


def _heading(section: str) -> str:
    return f"## {section}\n"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
