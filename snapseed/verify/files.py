"""Compare the files of a snapshot with its manifest: length and SHA-256, and which chunks changed if they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snapseed.errors import SnapshotError
from snapseed.events import Advanced, Listener, ignore
from snapseed.snapshot.arrow import in_one_piece
from snapseed.snapshot.hashing import fingerprint
from snapseed.snapshot.manifest import RESTORE, EntityRecord, PartFile
from snapseed.snapshot.store import Snapshot, extra_files, file_problem


@dataclass(frozen=True)
class FileFinding:
    """A file that is not what the manifest says. `chunks` are the numbers of the chunks whose rows changed."""

    entity: str | None
    path: str
    problem: str
    chunks: tuple[int, ...] = ()

    def __str__(self) -> str:
        place = f" (chunk {', '.join(map(str, self.chunks))})" if self.chunks else ""
        return f"{self.path}{place}: {self.problem}"


def verify_files(snapshot: Snapshot, *, only: Sequence[str] = (), listener: Listener = ignore) -> list[FileFinding]:
    """Everything that is wrong with the files; extra files count only if all entities are compared.

    The listener gets `Advanced` in bytes after each file.
    """
    entities = snapshot.manifest.chosen(only)
    total, done = sum(entity.bytes for entity in entities), 0
    findings = []
    for entity in entities:
        for file in entity.files:
            if problem := file_problem(snapshot, file):
                findings.append(FileFinding(entity.name, file.path, problem, _changed_chunks(snapshot, entity, file)))
            done += file.bytes
            listener(Advanced("files", done, total, unit="bytes"))
    if not only:
        findings += [FileFinding(None, path, "not named by the manifest") for path in extra_files(snapshot)]
    return findings


def require_none(findings: Sequence[FileFinding], snapshot: Snapshot) -> None:
    """Raise `SnapshotError` that lists the findings, if there are any."""
    if findings:
        raise SnapshotError(
            f"the files of snapshot {snapshot.manifest.name!r} are not what its manifest says",
            where=str(snapshot.folder),
            observed="; ".join(map(str, findings)),
            next_step=RESTORE,
        )


def _changed_chunks(snapshot: Snapshot, entity: EntityRecord, file: PartFile) -> tuple[int, ...]:
    """The chunks of a damaged file that cannot be read or whose rows changed; empty if the file cannot be opened."""
    try:
        part = snapshot.open_part(file)
    except Exception:  # noqa: BLE001 - a damaged footer can cause any error
        return ()
    changed = []
    with part:
        for number, chunk in enumerate(file.chunks[: part.num_row_groups]):
            try:
                table = part.read_row_group(number, use_threads=False)
                columns = [in_one_piece(table.column(column.name)) for column in entity.columns]
                if fingerprint(columns, entity.kinds) != chunk.digest():
                    changed.append(number)
            except Exception:  # noqa: BLE001 - so can damaged data
                changed.append(number)
    return tuple(changed)
