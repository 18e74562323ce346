"""Where snapshots are kept: a folder, or a prefix in a bucket of an object store. Made from the setting `snapshots`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from snapseed.config.settings import require_known
from snapseed.errors import ConfigurationError, UsageError

# The services that a URL can name, and what may follow a `?`.
_OPTIONS = {"s3": ("endpoint", "region"), "gs": ("endpoint",), "az": ("endpoint", "account")}


@dataclass(frozen=True)
class Store:
    """A folder, or the URL of a bucket and prefix with its options. Its text is for messages and has no options."""

    place: Path | str
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return str(self.place)

    def folder_of(self, name: str) -> Path | None:
        """The folder of a snapshot; None in a bucket."""
        return self.place / name if isinstance(self.place, Path) else None

    @property
    def folder(self) -> Path:
        """The folder. Raises `UsageError` for a bucket."""
        if isinstance(self.place, Path):
            return self.place
        raise UsageError(
            "this needs snapshots in a folder, and they are in an object store",
            observed=str(self),
            next_step="copy the snapshot into a folder with `snapseed pull`",
        )


def read_store(text: str, folder: Path, *, where: str) -> Store:
    """The store that a setting names; a relative path starts at `folder`.

    Raises `ConfigurationError` for a URL that names no bucket, has a password or an unknown option.
    """
    url = urlsplit(text) if "://" in text else None
    if url is None or (url.scheme == "file" and url.netloc in {"", "localhost"}):
        return Store(folder / (text if url is None else unquote(url.path)))
    expected = "a folder, or s3://bucket/prefix, gs://bucket/prefix, az://container/prefix"
    if "@" in url.netloc:
        next_step = "leave the password to the variables or files of your cloud, and write only the bucket here"
        raise ConfigurationError("the URL has a password", where=where, expected=expected, next_step=next_step)
    place = f"{url.scheme}://{url.netloc}{url.path}".rstrip("/")
    if url.scheme not in _OPTIONS or not url.netloc:
        raise ConfigurationError("this is not a place for snapshots", where=where, observed=place, expected=expected)
    options = parse_qsl(url.query)
    require_known([name for name, _ in options], _OPTIONS[url.scheme], where)
    return Store(place, tuple(options))
