"""Names and marks of the databases that are made here; whatever has neither is somebody else's and is left alone."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

import msgspec

# Changes whenever a template of an older version must not be used again.
FORMAT = 1
# 96 bits of a digest: no two templates of a server ever meet, and the names stay far below PostgreSQL's 63 bytes.
_DIGEST_CHARACTERS = 24
_TEMPLATE = re.compile(rf"snapseed_template_[0-9a-f]{{{_DIGEST_CHARACTERS}}}")
_CLONE = re.compile(r"snapseed_clone_(?P<run>[0-9a-f]{16})_\d+")


class TemplateMark(msgspec.Struct, frozen=True, tag="template", tag_field="snapseed"):
    """The comment on a template, written when it is complete. `used` is in seconds since 1970.

    `strategy` is how it is copied fastest, `outside` what reset compares: the rows of tables that no snapshot fills.
    """

    snapshot: str
    identity: str
    used: int
    size: int
    strategy: str
    outside: dict[str, str] = {}


class KeptMark(msgspec.Struct, frozen=True, tag="kept", tag_field="snapseed"):
    """The comment on a clone that outlives its run, because its test failed."""

    reason: str
    used: int


Mark = TemplateMark | KeptMark


def read_mark(comment: str | None) -> Mark | None:
    """The mark in a comment on a database; None for any other comment."""
    try:
        mark: Mark = msgspec.json.decode(comment or "", type=Mark)
    except msgspec.DecodeError:
        return None
    return mark


def write_mark(mark: Mark) -> str:
    """The comment that `read_mark` reads."""
    return msgspec.json.encode(mark).decode()


def template_name(*parts: str) -> str:
    """The name of the template that is made of these, which digests tell apart: a change of any is another one."""
    digest = hashlib.sha256(msgspec.json.encode([FORMAT, *parts])).hexdigest()
    return f"snapseed_template_{digest[:_DIGEST_CHARACTERS]}"


def is_template(name: str) -> bool:
    """Whether only we name a database like this, and as a template."""
    return _TEMPLATE.fullmatch(name) is not None


def run_of(name: str) -> str | None:
    """The run that a clone of this name belongs to; None where it is no clone of ours."""
    found = _CLONE.fullmatch(name)
    return found["run"] if found else None


def lock_key(name: str) -> int:
    """The advisory lock of a template, a run or a database, as PostgreSQL's bigint."""
    return int.from_bytes(hashlib.sha256(f"snapseed {name}".encode()).digest()[:8], signed=True)


@dataclass
class Run:
    """Names for the clones of one process, which no other process uses."""

    name: str
    made: int = 0

    @classmethod
    def new(cls) -> Run:
        """A run that nobody has had."""
        return cls(secrets.token_hex(8))

    def next_name(self) -> str:
        """The name of another clone. Of several threads, only one may ask."""
        self.made += 1
        return f"snapseed_clone_{self.name}_{self.made}"
