"""`snapseed init`: the example, or a first project for the tables of a database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from snapseed.cli import console
from snapseed.cli.options import Format, Verbose


def init(
    folder: Annotated[Path, typer.Argument(help="Where to put the project.")] = Path(),
    from_database: Annotated[
        str | None,
        typer.Option(
            "--from-database", metavar="URL", help="Write generators for the tables of this database, not the example."
        ),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Write a starter project: snapseed.toml, generators, schema, a CI workflow."""
    with console.reporting(Format.text, verbose=verbose):
        if from_database is None:
            _write_example(folder)
        else:
            _write_from_database(folder, from_database)


def _write_example(folder: Path) -> None:
    from snapseed.cli.starter import write_starter

    written = write_starter(folder)
    console.write("\n".join(f"  {path}" for path in written))
    console.write(f"wrote a starter project into {folder.resolve()}")
    console.write("next:  snapseed generate && snapseed load dev")


def _write_from_database(folder: Path, url: str) -> None:
    from snapseed.cli.starter import require_empty, write_project
    from snapseed.scaffold.project import scaffold_project

    require_empty(folder)
    made = scaffold_project(url)
    written = write_project(folder, made.files)
    console.write("\n".join(f"  {path}" for path in written))
    for table, notes in made.notes.items():
        console.write("\n".join([f"{table}:", *(f"  - {note}" for note in notes)]))
    for remark in made.remarks:
        console.write(remark)
    console.write(f"wrote generators for {made.tables} tables of {made.described} into {folder.resolve()}")
    consent = " --yes" if made.has_rows else ""
    console.write(f"next:  snapseed generate --scale 100 && snapseed load dev{consent}")
