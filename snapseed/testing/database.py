"""What a test gets: a database that holds the snapshot, and the parts of its URL. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field

from snapseed.redaction import redacted


@dataclass(frozen=True)
class SnapseedDatabase:
    """A database that holds the snapshot: its `url`, and the parts of that for drivers that want them one by one.

    `host` is a folder where the server listens on a Unix socket. The password is shown in no representation.
    """

    name: str
    url: str = field(repr=False)
    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    described: str = field(init=False, repr=True, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "described", redacted(self.url))
