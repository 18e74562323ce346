"""`snapseed init`: a starter project, or a first project for the tables of a database.

The starter is the example project itself, which the wheel carries, so that there is no second copy to maintain.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from snapseed.cli import console
from snapseed.cli.options import Verbose
from snapseed.errors import ConfigurationError, SnapseedError, UsageError

_PACKAGE = Path(__file__).resolve().parent.parent
# What git needs next to the generators, also in a project for a database.
_GIT_FILES = {Path(".gitignore"), Path(".gitattributes")}


def init(
    folder: Annotated[Path, typer.Argument(help="Where to put the project.")] = Path(),
    from_database: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Write generators for the tables of this database instead of the example."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Write a starter project: snapseed.toml, generators, schema, a CI workflow."""
    with console.reporting("text", verbose=verbose):
        if from_database is None:
            _write(folder, _starter_files(), {})
            console.write(f"wrote a starter project into {folder.resolve()}")
            console.write("next:  snapseed generate && snapseed load dev")
        else:
            _write_for_database(folder, from_database)


def _write_for_database(folder: Path, url: str) -> None:
    # Before the database is asked anything.
    generators = [path.relative_to(folder) for path in folder.glob("generators/*.py")]
    _require_absent(folder, [Path("snapseed.toml"), *generators])
    try:
        from snapseed.scaffold.project import scaffold_project
    except ModuleNotFoundError as exc:
        if exc.name not in {"rstr", "sqlglot"}:
            raise
        raise ConfigurationError(
            "the libraries that read the checks of a database are not installed",
            observed=f"no package {exc.name}",
            expected="the packages rstr and sqlglot",
            next_step="pip install 'snapseed[init]'",
        ) from exc
    made = scaffold_project(url)
    sources = {path: source for path, source in _starter_files().items() if path in _GIT_FILES}
    _write(folder, sources, made.files)
    for table, notes in made.notes.items():
        console.write(f"{table}:", *(f"  - {note}" for note in notes))
    for remark in made.remarks:
        console.write(remark)
    console.write(f"wrote generators for {made.tables} tables of {made.described} into {folder.resolve()}")
    consent = " --yes" if made.has_rows else ""
    console.write(f"next:  snapseed generate --scale 100 && snapseed load dev{consent}")


def _require_absent(folder: Path, paths: Iterable[Path]) -> None:
    present = sorted({str(path) for path in paths if (folder / path).exists()})
    if present:
        raise UsageError(
            "the folder already contains project files; nothing was written",
            where=str(folder.resolve()),
            observed=", ".join(present),
            next_step="choose an empty folder: snapseed init DIR",
        )


def _write(folder: Path, sources: Mapping[Path, Path], texts: Mapping[str, str]) -> None:
    """Copy the sources and write the texts, all by their path in the folder, and list them."""
    paths = [*sources, *map(Path, texts)]
    _require_absent(folder, paths)
    try:
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        for path, source in sources.items():
            shutil.copyfile(source, folder / path)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise UsageError("the folder cannot be written", where=str(exc.filename), observed=reason) from exc
    console.write(*(f"  {path}" for path in sorted(map(str, paths))))


def _starter_files() -> dict[Path, Path]:
    """Where each file of the starter comes from: a wheel carries the example project, a checkout is one."""
    home = _PACKAGE / "starter"
    example = home if (home / "snapseed.toml").is_file() else _PACKAGE.parent
    if not (example / "snapseed.toml").is_file():
        raise SnapseedError(
            "this installation has no starter project", where=str(home), next_step="install snapseed again"
        )
    files = [path for path in (example / "generators").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    sources = {path.relative_to(example): path for path in files}
    sources |= {Path(name): example / name for name in ("snapseed.toml", ".gitattributes")}
    sources[Path(".gitignore")] = home / "gitignore"
    sources[Path(".github/workflows/snapseed.yml")] = home / "workflow.yml"
    return sources
