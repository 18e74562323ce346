"""Verify the files of a snapshot against its manifest: length and SHA-256 of each, and which chunk was hit if not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from snapseed.errors import SnapshotError
from snapseed.snapshot.arrow import in_one_piece
from snapseed.snapshot.hashing import fingerprint
from snapseed.snapshot.manifest import EntityRecord, PartFile
from snapseed.snapshot.store import Snapshot, extra_files, file_problem


@dataclass(frozen=True)
class FileFinding:
    """One file that is not what the manifest says. `chunks` are the numbers of its chunks whose rows changed."""

    entity: str | None
    path: str
    problem: str
    chunks: tuple[int, ...] = ()

    def __str__(self) -> str:
        place = f" (chunk {', '.join(map(str, self.chunks))})" if self.chunks else ""
        return f"{self.path}{place}: {self.problem}"


def verify_files(
    snapshot: Snapshot, *, only: Sequence[str] = (), progress: Callable[[int], None] = lambda _: None
) -> list[FileFinding]:
    """Everything that is wrong with the files, an empty list where nothing is. `progress` gets each file's bytes."""
    findings = []
    for entity in snapshot.manifest.entities:
        if only and entity.name not in only:
            continue
        for file in entity.files:
            if problem := file_problem(snapshot, file):
                findings.append(FileFinding(entity.name, file.path, problem, _changed_chunks(snapshot, entity, file)))
            progress(file.bytes)
    if not only:
        findings += [FileFinding(None, path, "not named by the manifest") for path in extra_files(snapshot)]
    return findings


def require_files(snapshot: Snapshot, *, only: Sequence[str] = ()) -> None:
    """Raise `SnapshotError` that lists everything that is wrong with the files, if anything is."""
    require_none(verify_files(snapshot, only=only), snapshot)


def require_none(findings: Sequence[FileFinding], snapshot: Snapshot) -> None:
    """Raise `SnapshotError` that lists the findings, if there are any."""
    if findings:
        raise SnapshotError(
            f"the files of snapshot {snapshot.manifest.name!r} are not what its manifest says",
            where=str(snapshot.folder),
            observed="; ".join(map(str, findings)),
            next_step="restore them from git, or generate the snapshot again",
        )


def _changed_chunks(snapshot: Snapshot, entity: EntityRecord, file: PartFile) -> tuple[int, ...]:
    """The chunks of a damaged file that cannot be read or whose rows changed; none if it cannot be opened."""
    try:
        part = snapshot.open_part(file)
    except Exception:  # noqa: BLE001 - a damaged footer may say anything
        return ()
    changed = []
    with part:
        for number, chunk in enumerate(file.chunks[: part.num_row_groups]):
            try:
                table = part.read_row_group(number, use_threads=False)
                columns = [in_one_piece(table.column(column.name)) for column in entity.columns]
                if fingerprint(columns, entity.kinds) != chunk.digest():
                    changed.append(number)
            except Exception:  # noqa: BLE001 - whatever bytes that make no sense make the reader raise
                changed.append(number)
    return tuple(changed)
