"""`snapseed init`: the example project itself, copied into a folder, or a first project for the tables of a database.

The example is never kept as a second copy by hand.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from snapseed.errors import SnapseedError, UsageError

_PACKAGE = Path(__file__).resolve().parent.parent
_WORKFLOW = Path(".github/workflows/snapseed.yml")


def write_starter(folder: Path) -> list[str]:
    """Write the starter project and return its files, relative to `folder`.

    Raises `UsageError` where a file would be overwritten, or the folder cannot be written; then nothing is written.
    """
    sources = _sources()
    _require_absent(folder, sources)
    with _writing():
        for path, source in sources.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / path)
    return sorted(map(str, sources))


def write_project(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Write the files of a project, and those that git looks for beside them; returns all, relative to `folder`.

    Raises `UsageError` as `write_starter` does, and where the folder has other generators.
    """
    sources = {path: source for path, source in _sources().items() if str(path) in {".gitignore", ".gitattributes"}}
    others = [path.relative_to(folder) for path in folder.glob("generators/*.py")]
    _require_absent(folder, [*map(Path, files), *sources, *others])
    with _writing():
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        for path, source in sources.items():
            shutil.copyfile(source, folder / path)
    return sorted([*files, *map(str, sources)])


def require_empty(folder: Path) -> None:
    """Raise `UsageError` where the folder holds a project already, before anything is asked of a server."""
    _require_absent(
        folder, [Path("snapseed.toml"), *(path.relative_to(folder) for path in folder.glob("generators/*.py"))]
    )


def _require_absent(folder: Path, paths: Iterable[Path]) -> None:
    present = sorted({str(path) for path in paths if (folder / path).exists()})
    if present:
        raise UsageError(
            "the folder already holds files of a project; nothing was written",
            where=str(folder.resolve()),
            observed=", ".join(present),
            next_step="choose an empty folder: snapseed init DIR",
        )


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise UsageError(
            "the folder cannot be written", where=str(exc.filename), observed=exc.strerror or str(exc)
        ) from exc


def _sources() -> dict[Path, Path]:
    """Where each file of the starter comes from: the wheel carries the example project, a checkout is it."""
    home = _PACKAGE / "starter"
    example = home if (home / "snapseed.toml").is_file() else _PACKAGE.parent
    if not (example / "snapseed.toml").is_file():
        raise SnapseedError(
            "this installation has no starter project", where=str(home), next_step="install snapseed again"
        )
    files = [path for path in (example / "generators").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    sources = {path.relative_to(example): path for path in files}
    for name in ("snapseed.toml", ".gitattributes"):
        sources[Path(name)] = example / name
    sources[Path(".gitignore")] = home / "gitignore"
    sources[_WORKFLOW] = home / "workflow.yml"
    return sources
