"""Pools: tables of words and names that generators choose from, drawn or written once and committed as CSV.

A pool's digest stands in the manifest, so that a snapshot says which words it was made of.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import polars as pl

from snapseed.errors import GeneratorError

Build = Callable[[Callable[[str], pl.DataFrame]], pl.DataFrame]


@dataclass
class Pools:
    """The folder `pools/` of a project's generators; remembers which pools were asked for."""

    folder: Path
    used: set[str] = field(default_factory=set)

    def table(self, name: str) -> pl.DataFrame:
        """The pool `name` (`NAME.csv`) with every column as text, in the order of the file.

        Raises `GeneratorError` where there is no such pool, or it is not a CSV file with rows.
        """
        path = self.folder / f"{name}.csv"
        self.used.add(name)
        return _read(path, path.stat().st_mtime_ns) if path.is_file() else _missing(path)

    def derived(self, build: Build) -> pl.DataFrame:
        """What `build` makes of pools, given the function to get them by: made once per process, then the same frame.

        The pools it asks for are among those used, as if they had been asked for here.
        """
        table, used = _derived(self.folder, build)
        self.used.update(used)
        return table

    def digests(self) -> dict[str, str]:
        """The SHA-256 of each pool that was used, by name."""
        return {
            name: hashlib.sha256((self.folder / f"{name}.csv").read_bytes()).hexdigest() for name in sorted(self.used)
        }


@cache
def _derived(folder: Path, build: Build) -> tuple[pl.DataFrame, frozenset[str]]:
    pools = Pools(folder)
    return build(pools.table), frozenset(pools.used)


@cache
def _read(path: Path, modified: int) -> pl.DataFrame:  # noqa: ARG001 - part of the cache's key
    try:
        # Python's reader rather than polars': it infers nothing, so the word `nan` or `1984` stays text, and its
        # behaviour does not change between versions. A pool is small.
        with path.open(encoding="utf-8", newline="") as stream:
            header, *lines = list(csv.reader(stream, strict=True)) or [[]]
        table = pl.DataFrame(lines, schema=dict.fromkeys(header, pl.String), orient="row")
    except (csv.Error, UnicodeDecodeError, pl.exceptions.PolarsError) as exc:
        raise GeneratorError(
            "a pool cannot be read", where=str(path), observed=str(exc), expected="a CSV file"
        ) from exc
    if table.is_empty():
        raise GeneratorError("a pool is empty", where=str(path), expected="at least one row behind the header")
    return table


def _missing(path: Path) -> pl.DataFrame:
    known = ", ".join(sorted(file.stem for file in path.parent.glob("*.csv"))) or "none"
    raise GeneratorError(
        f"there is no pool named {path.stem!r}", where=str(path), expected=f"a CSV file; pools here: {known}"
    )
