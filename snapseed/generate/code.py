"""The code of a project as one value, known by its content: what a machine without the project's folder needs of it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import platform
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from snapseed.config import Project
from snapseed.config.settings import CaptureTable

_GENERATORS, _SCHEMA = "generators", "schema.sql"
# What rows and files depend on besides the code of the project.
LIBRARIES = ("snapseed", "numpy", "polars", "pyarrow")


@dataclass(frozen=True)
class Code:
    """The generators of a project with their pools, its schema file, and the versions that it is meant to run with.

    `sha256` is that of all names and contents.
    """

    project: Project
    sha256: str
    archive: bytes
    versions: Mapping[str, str]

    def unpacked(self, folder: Path) -> Project:
        """The project with its code below `folder`, where each content has a place of its own."""
        place = folder / f"snapseed-{self.sha256[:16]}"
        if not place.is_dir():
            staging = Path(tempfile.mkdtemp(prefix=f"{place.name}-", dir=folder))
            with zipfile.ZipFile(io.BytesIO(self.archive)) as archive:
                archive.extractall(staging)
            # Where another thread was faster, its folder has the same files.
            with suppress(OSError):
                staging.rename(place)
        schema = place / _SCHEMA if self.project.schema else None
        return replace(self.project, folder=place, generators=place / _GENERATORS, schema=schema)


def packed(project: Project) -> Code:
    """The code of a project as it is now."""
    inner = (path for path in project.generators.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    files = {f"{_GENERATORS}/{path.relative_to(project.generators).as_posix()}": path for path in sorted(inner)}
    if project.schema and project.schema.is_file():
        files[_SCHEMA] = project.schema
    digest, buffer = hashlib.sha256(), io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files.items():
            data = path.read_bytes()
            archive.writestr(name, data)
            digest.update(b"%d %s %d " % (len(name.encode()), name.encode(), len(data)))
            digest.update(data)
    # What making parts needs: other settings may have passwords.
    bare = replace(project, stored="", environments={}, embeddings=None, capture=CaptureTable(), mask={}, cluster=None)
    return Code(bare, digest.hexdigest(), buffer.getvalue(), own_versions())


@cache
def own_versions() -> dict[str, str]:
    """The versions of this process: of Python, without the last number, and of the libraries."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{name: importlib.metadata.version(name) for name in LIBRARIES}}
