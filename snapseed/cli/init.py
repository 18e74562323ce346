"""`snapseed init`: a starter project, or one for the tables of a database or a copy of it; `snapseed git setup`.

A starter is a folder of `snapseed/starter`, and `git` there is what every project has. The example `media` is the
project at the top of the repository, which the wheel carries, so that there is no second copy to maintain.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from snapseed.cli import console, snapshot_text
from snapseed.cli.layout import wrapped
from snapseed.cli.options import Call, Verbose, in_project
from snapseed.cli.progress import Meter
from snapseed.config import Project, find_project
from snapseed.config.project import FILE_NAME
from snapseed.config.settings import interpolate, mask_secret, read_env_file, variable_of, variable_with
from snapseed.errors import RefusedError, SnapseedError, UsageError, extra
from snapseed.redaction import redacted

if TYPE_CHECKING:
    from snapseed.scaffold.modules import Scaffold

_STARTER = Path(__file__).resolve().parent.parent / "starter"
_WORKFLOW = ".github/workflows/snapseed.yml"
# What holds a URL with a password, unless a variable does already.
_SOURCE = "SOURCE_URL"
git_app = typer.Typer(name="git", help="Let git show and merge committed snapshots.", no_args_is_help=True)
_FIRST = "snapseed generate && snapseed load   # rows for development"
_NEXT = {
    "shop": (_FIRST, "snapseed generate test && pytest     # rows for tests and CI: snapshots/test"),
    "media": (_FIRST, "snapseed generate ci                 # rows for CI: snapshots/ci"),
}


def init(
    folder: Annotated[Path, typer.Argument(help="Where to put the project.")] = Path(),
    example: Annotated[
        Literal["shop", "media"] | None,
        typer.Option(help="shop: small, to read and copy (default). media: with texts, embeddings and a queue."),
    ] = None,
    from_database: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Write generators for the tables of this database instead of an example."),
    ] = None,
    keep_rows: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE", help="Keep this table's rows as they are (repeat)."),
    ] = None,
    keep_small: Annotated[
        bool, typer.Option("--keep-small", help="Keep the rows of every small table that has no personal columns.")
    ] = False,
    include_filled: Annotated[
        bool, typer.Option("--include-filled", help="Also write generators for tables that already hold rows.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Update a project after a migration: add new tables and columns.")
    ] = False,
    no_statistics: Annotated[
        bool, typer.Option("--no-statistics", help="Ignore PostgreSQL's statistics about these tables.")
    ] = False,
    capture: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Write a project for a copy of this database, and capture it."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Write a starter project, into an existing repository too. Overwrites nothing; --update adds lines to modules."""
    with console.reporting("text", verbose=verbose):
        if not update:
            _require_no_project(folder)
        if [example, from_database, capture].count(None) < 2:  # noqa: PLR2004 - of three
            names = "--example, --from-database and --capture exclude each other"
            raise UsageError(names, next_step="leave all but one of them out")
        if from_database is None and (keep_rows or keep_small or include_filled or update or no_statistics):
            names = "--keep-rows, --keep-small, --include-filled, --update and --no-statistics need --from-database URL"
            raise UsageError(names, next_step="add --from-database URL")
        if capture is not None:
            _capture(folder, capture)
        elif from_database is None:
            name = example or "shop"
            _write(folder, _files(name) | _files("git"))
            _show_next(folder, *_NEXT[name])
        else:
            with extra("init", "the libraries that read the checks of a database are"):
                from snapseed.scaffold.project import ScaffoldRequest, scaffold_project
            project = find_project(folder) if update else None
            request = ScaffoldRequest(
                from_database, keep_rows or (), keep_small, include_filled, statistics=not no_statistics, update=project
            )
            _write_for_database(folder, scaffold_project(request), project)


def _write_for_database(folder: Path, made: Scaffold, project: Project | None) -> None:
    """Print what was found, then write the files: into the generators of a project, or all of a new one."""
    if made.heading:
        console.write(*wrapped(made.heading))
    for table, notes in made.notes.items():
        console.write(f"{table}:", *(line for note in notes for line in wrapped(f"  - {note}", " " * 4)))
    for remark in made.remarks:
        console.write(*wrapped(remark))
    if project is None:
        _write(folder, {**made.files, **_files("git")})
    elif made.files:
        home = project.file.parent
        files = {os.path.relpath(project.generators / name, home): text for name, text in made.files.items()}
        present = [name for name in files if (home / name).exists()]
        if present:
            _require_committed(home, present)
        _write(home, files, into=present)
    if made.next_steps:
        _show_next(folder, *made.next_steps)


def _require_committed(folder: Path, names: Sequence[str]) -> None:
    """Raise `RefusedError` if files have changes that git does not have. Without git or a repository, nobody knows."""
    from snapseed.snapshot.store_git import git

    if shutil.which("git") is None:
        return
    if changed := git(folder, "status", "--porcelain", "--", *names).stdout.decode(errors="replace"):
        told = ", ".join(line[3:] for line in changed.splitlines())
        advice = "commit them first, so that git diff shows what is added"
        raise RefusedError("modules have changes that are not committed", observed=told, next_step=advice)


def _capture(folder: Path, url: str) -> None:
    """Write a project that names its source without a password, and capture the source."""
    from snapseed.capture.snapshot import capture_snapshot
    from snapseed.postgres.connect import connected, target_of

    filled, _ = interpolate(url, where="--capture")
    # Before anything is written.
    with connected(target_of(filled, "--capture")):
        pass
    holder = variable_with(url) or _SOURCE
    source = url if url != filled or redacted(url) == url else f"${{{holder}}}"
    files = _files("capture") | _files("git")
    settings = files["snapseed.toml"].replace(f'"${{{_SOURCE}}}"', json.dumps(source, ensure_ascii=False))
    _write(folder, files | {"snapseed.toml": settings})
    try:
        _add_masks(folder, filled)
        project = find_project(folder)
        with Meter(quiet=False) as meter:
            report = capture_snapshot(project, project.environment(overrides={"source": filled}), listener=meter)
    except SnapseedError:
        more = " --env-file .env" * (folder / ".env").exists()
        console.note(f"the project is there: in its folder, `snapseed capture --from URL{more}` tries again")
        raise
    console.write(*snapshot_text.captured(report))
    if source == f"${{{_SOURCE}}}":
        console.write(*wrapped(f"to capture again, set {_SOURCE} to the same URL: its password is in no file"))
    _show_next(folder, "snapseed load")


def _add_masks(folder: Path, url: str) -> None:
    """Give each column that looks personal a rule, and make the secret that rules need, unless there is one."""
    from snapseed.capture.snapshot import check_masks

    project = find_project(folder)
    found = check_masks(project, project.environment(overrides={"source": url}), looks_at_rows=True)
    if not found.personal:
        return
    lines = ["", "# What looks personal, and what replaces it: docs/mask.md. Check these lines.", "[mask]"]
    with project.file.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in (*lines, *(personal.line for personal in found.personal)))
    columns = ", ".join(personal.column for personal in found.personal)
    console.write(*wrapped(f"these columns look personal and got a rule; check [mask] in {FILE_NAME}: {columns}"))
    if kept := ", ".join(personal.column for personal in found.personal if ' = "keep"' in personal.line):
        console.write(*wrapped(f"no rule fits these, so their values are copied as they are: {kept}"))
    if mask_secret() is None:
        path = folder / ".env"
        line = f"{variable_of('mask_secret')}={secrets.token_hex(32)}\n"
        is_open = path.exists() and not path.read_bytes().endswith(b"\n")
        with open(path, "a", encoding="utf-8", opener=partial(os.open, mode=0o600)) as file:
            file.write("\n" * is_open + line)
        read_env_file(path)
        kept = "their secret is in .env: keep it, and capture with --env-file .env; another one gives other values"
        console.write(*wrapped(kept))


def _require_no_project(folder: Path) -> None:
    """Raise `UsageError` if there is a project, or a folder of generators, which would become part of the new one."""
    if folder.resolve() == Path.home():
        raise UsageError("this is your home folder", where=str(Path.home()), next_step="snapseed init DIR")
    present = [name for name in ("snapseed.toml", "generators") if (folder / name).exists()]
    settings = folder / "pyproject.toml"
    if settings.is_file() and b"[tool.snapseed" in settings.read_bytes():
        present.append("pyproject.toml with [tool.snapseed]")
    if present:
        found, step = ", ".join(present), "choose another folder: snapseed init DIR"
        summary = "the folder already contains a project; nothing was written"
        raise UsageError(summary, where=str(folder.resolve()), observed=found, next_step=step)


def _files(name: str) -> dict[str, str]:
    """The files of a starter by their paths."""
    home, root = _STARTER / name, _STARTER.parents[1]
    found = [(home, path) for path in home.rglob("*")]
    if name == "media" and not (home / "snapseed.toml").exists():
        # Not a wheel, but a checkout.
        found += [(root, path) for path in [root / "snapseed.toml", *(root / "generators").rglob("*")]]
    return {
        path.relative_to(base).as_posix(): path.read_text(encoding="utf-8")
        for base, path in found
        if path.is_file() and path.parent.name != "__pycache__"
    }


def _write(folder: Path, files: Mapping[str, str], *, into: Collection[str] = ()) -> None:
    """Write the files that are missing, add to git's own the lines that they lack, and list what was done.

    Those of `into` are there, and get their new text.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        home = folder.resolve()
        root = next((place for place in (home, *home.parents) if (place / ".git").exists()), home)
        outer = next((place for place in home.parents if (place / FILE_NAME).exists()), None)
        said = [f"in {home}{f', inside the project {outer}' if outer else ''}:"]
        for name, text in sorted(files.items()):
            # GitHub reads workflows only at the top of a repository.
            path = (root if name == _WORKFLOW else home) / name
            place = json.dumps(home.relative_to(root).as_posix(), ensure_ascii=False)
            text = text.replace("working-directory: .", f"working-directory: {place}")  # noqa: PLW2901
            done = _write_one(path, text, is_new_text=name in into)
            said.append(f"  {done:<14} {os.path.relpath(path, home)}")
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise UsageError("the folder cannot be written", where=str(exc.filename), observed=reason) from exc
    console.write(*said)


def _write_one(path: Path, text: str, *, is_new_text: bool) -> str:
    """What was done: wrote it, added to it, or left it as it was. Line breaks stay, and no file is half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(text, encoding="utf-8")
        return "wrote"
    if is_new_text:
        partial_file = path.with_name(f".{path.name}.partial")
        line_break = "\r\n" if b"\r\n" in path.read_bytes() else "\n"
        partial_file.write_text(text, encoding="utf-8", newline=line_break)
        partial_file.replace(path)
        return "added to"
    old = path.read_text(encoding="utf-8", errors="surrogateescape")
    missing = [line for line in text.splitlines() if line not in old.splitlines()]
    if not (path.name.startswith(".git") and missing):
        return "left as it was"
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(["\n" if old and not old.endswith("\n") else "", *(f"{line}\n" for line in missing)]))
    return f"added {len(missing)} lines"


def _show_next(folder: Path, *commands: str) -> None:
    home = folder.resolve()
    enter = [f"cd {shlex.quote(str(folder))}"] if home != Path.cwd() else []
    is_in_git = any((place / ".git").exists() for place in (home, *home.parents))
    commands += ("snapseed git setup                   # git diff shows rows",) * is_in_git
    console.write("next:", *(f"  {line}" for line in (*enter, *commands)))


# ── git ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@git_app.command()
@in_project("results")
def setup(call: Call, undo: Annotated[bool, "Remove the settings of this clone again."] = False) -> None:
    """Let `git diff`, `git log -p` and `git show` print rows, and `git merge` merge snapshots, in this clone."""
    from snapseed.git.drivers import set_up

    done = set_up(call.project, undo=undo)
    to_do = "commit .gitattributes; every clone needs `snapseed git setup` once, and `--undo` takes it back"
    advice = "the lines in .gitattributes stay: without these settings they do nothing" if undo else to_do
    call.show([*(f"  {name:<24} {what}" for name, what in done.items()), advice], {"done": done})
