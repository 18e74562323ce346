"""The page: everything about a snapshot in one HTML file without an outside address, never larger than 2 MB.

Values are untrusted: the template escapes them all, and the content policy of the page runs no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import jinja2
import msgspec

from snapseed.config import Environment, Project
from snapseed.diff.compare import DiffReport
from snapseed.errors import ConfigurationError, SnapseedError, UsageError
from snapseed.events import Advanced, Listener, ignore
from snapseed.load.outcome import LoadTimes
from snapseed.load.schema_file import find_schema
from snapseed.postgres.locks import reading
from snapseed.printable import printable
from snapseed.report import graph
from snapseed.report.embedding_map import embedding_map
from snapseed.report.profile import profile
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.store import Snapshot, snapshot_of
from snapseed.units import size
from snapseed.verify.status import EnvironmentStatus, status_of


@dataclass(frozen=True)
class PageRequest:
    """What the page shows beside the snapshot. Without `samples`, it shows no value of any row.

    A `load` is shown in place of the last one into the database.
    """

    samples: bool = True
    load: LoadTimes | None = None
    differences: DiffReport | None = None
    most_bytes: int = 2_000_000


@dataclass(frozen=True)
class Page:
    """A page that was made. The rows of the `different` entities are not those that the manifest says."""

    status: EnvironmentStatus
    manifest: Manifest
    different: tuple[str, ...]
    html: str


@dataclass(frozen=True)
class _Detail:
    """How much the page says of each column: as much as fits."""

    samples: int = 0
    values: int = 0
    characters: int = 24
    histograms: Literal["drawn", "as text", ""] = "drawn"
    columns: bool = True
    entities: int | None = None


_DETAILS = (
    _Detail(5, 6, 60),
    _Detail(3, 4, 40),
    _Detail(1, 3),
    _Detail(),
    _Detail(histograms="as text"),
    _Detail(histograms=""),
    _Detail(histograms="", columns=False),
    _Detail(histograms="", columns=False, entities=2_000),
)


def make_page(
    project: Project, environment: Environment, request: PageRequest = PageRequest(), *, listener: Listener = ignore
) -> Page:
    """Read the environment's snapshot once, ask its database what was loaded, and draw both. Starts no server.

    The page never shows values of masked columns. Details are left out until it fits. The listener gets `Advanced` in
    rows. Raises `SnapshotError` if the snapshot cannot be read. A database that cannot be reached is no error.
    """
    snapshot = snapshot_of(environment)
    manifest, done = snapshot.manifest, 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        listener(Advanced("rows", done, manifest.rows))

    hidden = {
        entity.name: manifest.masked_in(entity)
        if request.samples
        else frozenset(column.name for column in entity.columns)
        for entity in manifest.entities
    }
    profiles = {entity.name: profile(snapshot, entity, hidden[entity.name], advance) for entity in manifest.entities}
    different = tuple(name for name, each in profiles.items() if not each.as_written)
    status = status_of(project, environment)
    links = _references(project, environment, snapshot, status)
    context = {
        "manifest": manifest,
        "profiles": profiles,
        "different": different,
        "status": status,
        "map": embedding_map(snapshot, profiles, links),
        "request": request,
        "load": request.load or _last_load(status),
        "hidden": hidden,
        "links": links,
        "anchors": {entity.name: f"t{at}" for at, entity in enumerate(manifest.entities)},
        "drawings": graph.drawings(manifest.entities, links),
    }
    return Page(status, manifest, different, _rendered(context, request.most_bytes))


def read_load(path: Path) -> LoadTimes:
    """The load in a file that `snapseed load --format json` or `snapseed ci --report` wrote. Raises `UsageError`."""
    expected = "what `snapseed load --format json` or `snapseed ci --report` writes"
    try:
        document = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
        load = msgspec.convert(document.get("load", document), LoadTimes)
    except (OSError, msgspec.DecodeError) as exc:
        observed = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
        raise UsageError("no report of a load", where=str(path), observed=observed, expected=expected) from exc
    if not load.phases:
        observed = "the report of a command that failed" if document.get("error") else "no phases of a load"
        raise UsageError("no report of a load", where=str(path), observed=observed, expected=expected)
    return load


def _last_load(status: EnvironmentStatus) -> LoadTimes | None:
    """The times of the last load, up to its record; None if an older version of snapseed wrote that."""
    with suppress(msgspec.DecodeError):
        if status.loaded and status.loaded.times:
            return msgspec.json.decode(status.loaded.times, type=LoadTimes)
    return None


def _references(
    project: Project, environment: Environment, snapshot: Snapshot, status: EnvironmentStatus
) -> tuple[graph.Reference, ...]:
    """Those that the database has, if it answers, and those of the schema file, if it can be read."""
    keys, schema, entities = list[graph.Reference](), None, snapshot.manifest.entities
    with suppress(SnapseedError):
        if status.reached:
            with reading(resolve_target(project, environment), "reading the foreign keys") as connection:
                keys = graph.foreign_keys(connection, entities)
    with suppress(ConfigurationError):
        schema = find_schema(project, snapshot)
    return graph.references(entities, schema.text if schema else "", keys)


def _rendered(context: Mapping[str, object], most_bytes: int) -> str:
    """The page with the most detail that fits."""
    folder = Path(__file__).parent
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.filters |= {
        "bars": _bars,
        "bottleneck": lambda copied: LoadTimes(entities=(*copied,)).bottleneck,
        "cut": lambda text, most: text if len(text) <= most else text[: most - 1] + "…",
        "percent": _percent,
        "printable": printable,
        "rounded": lambda number: f"{float(f'{number:.3g}'):,.0f}",
        "size": size,
        "spark": _spark,
        "thousands": "{:,}".format,
    }
    sources = {name: (folder / f"page.{name}").read_text(encoding="utf-8").strip() for name in ("css", "js")}
    digests = {name: hashlib.sha256(text.encode()).digest() for name, text in sources.items()}
    policy = {name: f"sha256-{base64.b64encode(digest).decode()}" for name, digest in digests.items()}
    page = templates.get_template("page.html")

    @cache
    def drawn(level: int) -> str:
        """The page with this much detail."""
        return page.render(context, graph=graph, sources=sources, policy=policy, detail=_DETAILS[level])

    def is_small(level: int) -> bool:
        return len(drawn(level).encode()) <= most_bytes

    # One of few levels, found by halving: a page takes a second to render.
    level = 0 if is_small(0) else bisect_left(range(1, len(_DETAILS) - 1), 1, key=is_small) + 1
    return drawn(level)


def _bars(counts: Sequence[int]) -> str:
    """The outline of a histogram as the path of an SVG, 168 wide and 26 high. No bar with a row is invisible."""
    width, most = 168 // len(counts), max(counts)
    return f"M0 26{''.join(f'V{26 - -(-count * 26 // most)}h{width}' for count in counts)}V26z"


def _spark(counts: Sequence[int]) -> str:
    """The same as a dozen characters."""
    pairs = [sum(counts[at : at + 2]) for at in range(0, len(counts), 2)]
    return "".join("▁▂▃▄▅▆▇█"[count * 7 // max(pairs)] for count in pairs)


def _percent(share: float) -> str:
    """A share in whole percent; one that is less than that is not 0."""
    return f"{share * 100:.0f} %" if share >= 0.01 or not share else "<1 %"  # noqa: PLR2004 - a percent
