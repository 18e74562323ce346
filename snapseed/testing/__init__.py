"""Databases that hold a snapshot, made once and then copied: for each test, or in place of an environment's own.

This module has only what a test gets, so that importing it costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from snapseed.redaction import SecretUrl, redacted


@dataclass(frozen=True)
class SnapseedDatabase:
    """A database that holds the snapshot: its `url`, and the parts of it for drivers that want them one by one.

    `host` is a folder where the server listens on a Unix socket. `described` is the URL without its password, which no
    representation shows, neither of the database nor of its URL.
    """

    name: str
    url: str = field(repr=False)
    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    described: str = field(init=False, repr=True, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", SecretUrl(self.url))
        object.__setattr__(self, "described", redacted(self.url))
