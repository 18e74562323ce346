"""The program that git calls, and how a clone gets it: `text` prints the rows of a file, `merge` merges two manifests.

Git starts it for each side of each file, so it is no command of `snapseed`, which would take longer to start.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess
from typing import TypeVar

import msgspec
import pyarrow.parquet as pq

from snapseed.config import Project, find_project
from snapseed.errors import SnapseedError, UsageError
from snapseed.printable import printable
from snapseed.snapshot.hashing import fingerprint, row_hashes
from snapseed.snapshot.keys import as_text
from snapseed.snapshot.manifest import LFS_POINTER, Manifest, encode
from snapseed.snapshot.manifest_checks import decode
from snapseed.snapshot.parquet import readable
from snapseed.snapshot.store_git import git
from snapseed.snapshot.types import Family, type_in_file

# Of a file with more values, only a hash of each chunk is shown: git keeps the text of both sides in memory.
_MOST_VALUES = 2_000_000
# What the whole snapshot was made with. Two manifests that differ in it have no entity that fits both.
_MADE_WITH = ("name", "seed", "scale", "now", "part_rows", "chunk_rows")
_LEFT = "left as it was"
_Value = TypeVar("_Value")


def settings() -> dict[str, str]:
    """What a clone has in its configuration of git, with the Python that runs now."""
    # With -P, Python runs no module of the repository that happens to have the name of one of ours.
    program = f"{shlex.quote(sys.executable)} -P -m {__name__}"
    return {
        # If this fails, git would stop in the middle of its output; a checksum still shows whether the files differ.
        # Nothing here multiplies matrices, and the threads for that take a tenth of the time.
        "diff.snapseed.textconv": f'f() {{ OPENBLAS_NUM_THREADS=1 {program} text "$1" || cksum <"$1"; }}; f',
        "merge.snapseed.name": "entities of a snapshot that only one branch changed",
        "merge.snapseed.driver": f"{program.replace('%', '%%')} merge %O %A %B %P",
        # Of several common ancestors, git first makes one; it need not be a snapshot.
        "merge.snapseed.recursive": "binary",
    }


def set_up(project: Project, *, undo: bool = False) -> dict[str, str]:
    """Give git the drivers, in the configuration of this clone, and the files that they are for, in .gitattributes.

    Returns what became of each. To `undo` it, only the configuration is changed. Raises `UsageError` outside of git.
    """
    top = Path(_asked(project.folder, "rev-parse", "--show-toplevel").stdout.decode().removesuffix("\n"))
    file, lines = top / ".gitattributes", [] if undo else list(_missing_attributes(top, project.snapshots.folder))
    done = {name: _set(top, name, None if undo else value) for name, value in settings().items()}
    if lines:
        is_open = file.exists() and not file.read_bytes().endswith(b"\n")
        with file.open("a", encoding="utf-8") as stream:
            stream.writelines(["\n" * is_open, *lines])
    return {**done, file.name: f"added {len(lines)} lines" if lines else _LEFT}


def _set(folder: Path, name: str, value: str | None) -> str:
    """Give a setting of this clone a value, or remove it, and say what was there."""
    found = _asked(folder, "config", "--local", "--get", name)
    before = found.stdout.decode().removesuffix("\n") if found.returncode == 0 else None
    if before == value:
        return _LEFT
    _asked(folder, "config", "--local", *(("--unset-all", name) if value is None else ("--replace-all", name, value)))
    return "set" if before is None else f"{'removed' if value is None else 'replaced'}, was: {before}"


def _missing_attributes(top: Path, snapshots: Path) -> Iterator[str]:
    """The lines that .gitattributes lacks: asked of git, because other lines and files may say the same."""
    inside = os.path.relpath(snapshots, top)
    for pattern, attributes in (("*.parquet", "-text -merge diff=snapseed"), ("manifest.json", "merge=snapseed")):
        example, name = Path(inside, "x", pattern.replace("*", "x")), attributes.rpartition(" ")[2].partition("=")[0]
        if not _asked(top, "check-attr", name, "--", str(example)).stdout.endswith(b" snapseed\n"):
            path = "**/" + pattern if inside == os.curdir else f"{inside}/**/{pattern}"
            yield f"{json.dumps(path, ensure_ascii=False) if ' ' in path else path} {attributes}\n"


def _asked(folder: Path, *arguments: str) -> CompletedProcess[bytes]:
    """What git answers; 1 is the code of a setting that is not there. Raises `UsageError` for any other failure."""
    done = git(folder, *arguments)
    if done.returncode > 1:
        said = done.stderr.decode(errors="replace").strip()
        advice = "run it in a git repository that contains the project; `git init` makes one"
        raise UsageError("git refused", where=str(folder), observed=said, next_step=advice)
    return done


# ── Rows as text ─────────────────────────────────────────────────────────────────────────────────────────────────────


def text_of(path: Path, most_values: int = _MOST_VALUES) -> Iterator[str]:
    """The rows as lines: the first column of a row, which git repeats above its differences, then the others indented.

    A vector is shown as its hash, and a pointer of Git LFS as it is. Raises `SnapshotError` for what cannot be read.
    """
    with readable(str(path)), path.open("rb") as stream:
        if stream.read(len(LFS_POINTER)) == LFS_POINTER:
            yield path.read_text(encoding="utf-8")
            return
        with pq.ParquetFile(stream, pre_buffer=False) as parquet:
            names = parquet.schema_arrow.names
            kinds = [type_in_file(field.type) for field in parquet.schema_arrow]
            is_large = parquet.metadata.num_rows * len(names) > most_values
            for number in range(parquet.num_row_groups):
                rows = parquet.read_row_group(number, use_threads=False)
                columns = [column.combine_chunks() for column in rows.columns]
                if is_large:
                    yield f"chunk {number}: {len(rows):,} rows, hash {fingerprint(columns, kinds)}\n"
                    continue
                texts = []
                for values, kind in zip(columns, kinds, strict=True):
                    if kind.family is Family.VECTOR and not kind.is_array:
                        hashes = zip(values, row_hashes([values], [kind]), strict=True)
                        texts.append([f"vector {number:016x}" if each.is_valid else "NULL" for each, number in hashes])
                    else:
                        shown = (as_text(value, kind) for value in values)
                        texts.append(["NULL" if text is None else repr(text) for text in shown])
                labels = [printable(name) for name in names]
                for row in zip(*texts, strict=True):
                    yield "\n  ".join(f"{label} {text}" for label, text in zip(labels, row, strict=True)) + "\n"


# ── Merges ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Merge:
    """One manifest made of two, and the entities taken from theirs; or ours as it was, and what is in conflict."""

    manifest: Manifest
    taken: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()


def merge(base: Manifest | None, ours: Manifest, theirs: Manifest) -> Merge:
    """Merge what each side changed since `base`. An entity, a pool or a library that both changed is a conflict.

    So is a difference in what the snapshot was made with, and every capture: it shows a database at one moment.
    Raises `ManifestError` if entities of both do not fit together, such as one without its parent.
    """
    sides = (base or msgspec.structs.replace(ours, pools={}, libraries={}, entities=()), ours, theirs)
    pools, _, in_pools = _merged(*(side.pools for side in sides))
    libraries, _, in_libraries = _merged(*(side.libraries for side in sides))
    entities, taken, in_entities = _merged(*({entity.name: entity for entity in side.entities} for side in sides))
    conflicts = [name for name in _MADE_WITH if getattr(ours, name) != getattr(theirs, name)]
    conflicts += [*["capture"] * bool(ours.capture or theirs.capture), *in_pools, *in_libraries, *in_entities]
    if conflicts:
        return Merge(ours, conflicts=tuple(conflicts))
    merged = msgspec.structs.replace(ours, pools=pools, libraries=libraries, entities=tuple(entities.values()))
    return Merge(decode(encode(merged), where="the merged manifest"), taken=tuple(taken))


def _merged(
    base: Mapping[str, _Value], ours: Mapping[str, _Value], theirs: Mapping[str, _Value]
) -> tuple[dict[str, _Value], list[str], list[str]]:
    """The values that only one side changed, in the order of both; the names of theirs, and of what both changed."""
    names = list(ours)
    for before, name in pairwise(["", *theirs]):
        if name not in ours:
            names.insert(names.index(before) + 1 if before else 0, name)
    changed = [name for name in names if ours.get(name) != theirs.get(name)]
    taken = [name for name in changed if base.get(name) == ours.get(name)]
    chosen = {name: theirs.get(name) if name in taken else ours.get(name) for name in names}
    conflicts = [name for name in changed if name not in taken and base.get(name) != theirs.get(name)]
    return {name: value for name, value in chosen.items() if value is not None}, taken, conflicts


def _merge_files(base: Path, ours: Path, theirs: Path, name: str) -> int:
    """Write the merged manifest over ours, unless there is a conflict, and say what to do next. Returns the exit code.

    Git itself takes the Parquet files of an entity from the side that changed it, and ours in a conflict.
    """
    mine, yours = (decode(path.read_bytes(), where=name) for path in (ours, theirs))
    # Without a common ancestor, git gives an empty file.
    common = base.read_bytes()
    result = merge(decode(common, where=name) if common else None, mine, yours)
    folder, command = Path(name).parent, _command(name, mine)
    if result.conflicts:
        _say(
            f"{name}: both sides changed {', '.join(result.conflicts)}",
            f"resolve the conflicts in other files, then run `{command}` and `git add {shlex.quote(str(folder))}`",
        )
        return 1
    ours.write_bytes(encode(result.manifest))
    _say(
        f"{name}: took {', '.join(result.taken)} from the other side",
        f"to see whether the merged generators make these rows, run `{command} --check`",
    )
    return 0


def _command(name: str, manifest: Manifest) -> str:
    """The command that regenerates the snapshot, by the environment that uses it, if there is one."""
    verb = "capture" if manifest.capture else "generate"
    with suppress(SnapseedError):
        project = find_project(Path(name).absolute().parent)
        used = [each for each in project.environments if project.environment(each).snapshot == manifest.name]
        if used:
            return f"snapseed {verb} {used[0]}"
    return f"snapseed {verb} --snapshot {manifest.name}"


def _say(*lines: str) -> None:
    sys.stderr.write("".join(f"snapseed: {printable(line)}\n" for line in lines))


def main(arguments: Sequence[str]) -> int:
    """Do what git asks for. What fails is told on stderr, and git goes on with a conflict or a checksum."""
    for number in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    try:
        if arguments[0] == "merge":
            base, ours, theirs, name = arguments[1:]
            return _merge_files(Path(base), Path(ours), Path(theirs), name)
        for lines in text_of(Path(arguments[1])):
            sys.stdout.buffer.write(lines.encode())
    except SnapseedError as exc:
        _say(*str(exc).split("\n"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
