"""The commands that move snapshots between a folder and an object store, and clear what dead runs have left there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from snapseed.cli import snapshot_text
from snapseed.cli.documents import document
from snapseed.cli.options import Call, in_project
from snapseed.cli.progress import Meter
from snapseed.config.store import Store, read_store
from snapseed.errors import UsageError
from snapseed.units import parse_seconds

_StoreUrl = Annotated[str | None, "URL", "The object store (default: the environment's `snapshots`)."]
_Folder = Annotated[Path | None, "The folder (default: the `snapshots` of [snapseed])."]


@in_project("environment", "snapshot", "results", "quiet")
def push(call: Call, store: _StoreUrl = None, folder: _Folder = None) -> None:
    """Copy the snapshot from a folder into an object store. Files that are there already are skipped."""
    near, far = _sides(call, store, folder)
    _copy(call, near, far)


@in_project("environment", "snapshot", "results", "quiet")
def pull(call: Call, store: _StoreUrl = None, folder: _Folder = None) -> None:
    """Copy the snapshot from an object store into a folder. Files that are there already are skipped."""
    near, far = _sides(call, store, folder)
    _copy(call, far, near)


@in_project("environment", "snapshot", "results", "quiet")
def prune(
    call: Call,
    dry_run: Annotated[bool, "Only show what would be removed."] = False,
    older_than: Annotated[
        str, "TIME", "In a bucket: leave everything if a file is newer, since somebody may be writing."
    ] = "1h",
) -> None:
    """Remove what dead runs left beside the snapshot. These are files that its manifest does not name."""
    environment = call.environment
    from snapseed.snapshot.store import prune_snapshot

    seconds = parse_seconds(older_than, where="--older-than")
    report = prune_snapshot(environment.snapshots, environment.snapshot, seconds, dry_run=dry_run)
    call.show(snapshot_text.pruned(report), document(report))


def _sides(call: Call, store: str | None, folder: Path | None) -> tuple[Store, Store]:
    """The folder and the object store. Raises `UsageError` unless they are these."""
    project, environment = call.project, call.environment
    far = read_store(store, project.folder, where="--store") if store else environment.snapshots
    near = Store(folder.absolute()) if folder else project.snapshots
    if not isinstance(near.place, Path) or far == near:
        raise UsageError(
            "a copy needs a folder and an object store",
            where=f"environment {environment.name!r}",
            observed=str(near) if far == near else f"{near} and {far}",
            expected="--folder and --store, or `snapshots` in [snapseed] for the folder and in"
            f" [environments.{environment.name}] for the store",
            next_step=f"add --store s3://BUCKET/PREFIX{'' if isinstance(near.place, Path) else ' and --folder DIR'}",
        )
    return near, far


def _copy(call: Call, source: Store, target: Store) -> None:
    """Copy the environment's snapshot, and show what was copied."""
    name = call.environment.snapshot
    from snapseed.snapshot.store_copy import copy_snapshot

    with Meter(quiet=call.options.quiet) as meter:
        report = copy_snapshot(source, target, name, meter)
    call.show(snapshot_text.copied(report), document(report))
