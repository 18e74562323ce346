"""A snapshot as it was committed: its files are read out of git's objects, and only those that are asked for."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from snapseed.errors import UsageError
from snapseed.snapshot.manifest import FILE_NAME, LFS_POINTER, StoredFile
from snapseed.snapshot.store_folder import Folder

_LFS_OBJECT = re.compile(rb"^oid sha256:([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{60})$", re.MULTILINE)
# No pointer is longer, by the specification of Git LFS.
_POINTER_BYTES = 1024


@dataclass(frozen=True)
class Revision(Folder):
    """The folder of a snapshot as of a commit. `path` is below the root of the repository that `inside` is in."""

    inside: Path
    commit: str

    def __str__(self) -> str:
        """Its name in git."""
        return f"{self.commit}:{self.path}"

    def where(self, file: StoredFile) -> str:
        """The name of a file, for messages."""
        return f"{self}/{file.path}"

    def repair(self) -> bool:
        """Nothing: a commit does not change. Returns whether there is a snapshot, valid or not.

        Raises `UsageError` if git does not know the commit.
        """
        if git(self.inside, "rev-parse", "-q", "--verify", "--end-of-options", f"{self.commit}^{{commit}}").returncode:
            raise UsageError(
                "git knows no such revision",
                where=str(self.inside),
                observed=self.commit,
                expected="a commit, a branch or a tag, as in HEAD~1:snapshots/ci",
                next_step="check its name with `git log`; a shallow clone lacks older commits",
            )
        return git(self.inside, "cat-file", "-e", f"{self}/{FILE_NAME}").returncode == 0

    def open_manifest(self) -> BinaryIO:
        """The manifest. Raises `OSError`."""
        return self._open(FILE_NAME)

    def open(self, file: StoredFile, *, whole: bool = False) -> BinaryIO:  # noqa: ARG002 - as in a bucket
        """A file of the snapshot. Raises `OSError`."""
        return self._open(file.path)

    def present(self) -> set[str]:
        """The relative paths of all files in the folder."""
        listed = git(
            self.inside, "ls-tree", "-r", "-z", "--full-tree", "--name-only", "--end-of-options", str(self)
        ).stdout
        return set(filter(None, listed.decode(errors="surrogateescape").split("\0")))

    def _open(self, path: str) -> BinaryIO:
        """A temporary copy of the file; for a pointer of Git LFS, of what it points to if that was fetched."""
        copy = cast("BinaryIO", tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - the caller closes it
        command = ["git", "cat-file", "blob", f"{self}/{path}"]
        done = subprocess.run(command, cwd=self.inside, stdout=copy, stderr=subprocess.DEVNULL, check=False)
        if done.returncode:
            copy.close()
            raise FileNotFoundError(2, "git has no such file in this commit", f"{self}/{path}")
        copy.seek(0)
        start = copy.read(_POINTER_BYTES)
        copy.seek(0)
        if start.startswith(LFS_POINTER) and (found := _LFS_OBJECT.search(start)):
            first, second, _ = parts = [part.decode() for part in found.groups()]
            shared = git(self.inside, "rev-parse", "--path-format=absolute", "--git-common-dir").stdout.decode().strip()
            stored = Path(shared, "lfs", "objects", first, second, "".join(parts))
            if stored.is_file():
                copy.close()
                return stored.open("rb", buffering=0)
        return copy


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """What git does in a folder. Raises `UsageError` if it cannot be run."""
    try:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)  # noqa: S607 - of the PATH
    except OSError as exc:
        raise UsageError("git cannot be run", where=str(folder), observed=str(exc)) from exc


def committed_in(snapshots: Path, project: Path, commit: str) -> dict[str, Revision]:
    """The snapshots in a folder of the project as of a commit, by name. Raises `UsageError` for an unknown commit."""
    Revision(Path(), project, commit).repair()
    prefix = git(project, "rev-parse", "--show-prefix").stdout.decode().removesuffix("\n")
    folder = Path(os.path.normpath(Path(prefix, os.path.relpath(snapshots, project))))
    found = map(PurePosixPath, Revision(folder, project, commit).present())
    names = sorted(path.parent.name for path in found if path.match(f"*/{FILE_NAME}") and len(path.parts) == 2)  # noqa: PLR2004 - folder and file
    return {name: Revision(folder / name, project, commit) for name in names}
