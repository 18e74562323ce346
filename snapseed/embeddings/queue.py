"""Jobs as bytes, and what a queue of them offers in either form, stream or list.

Every job is delivered at least once: it leaves the queue only when a worker says that it is done, or dead.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import polars as pl

from snapseed.errors import ConfigurationError

if TYPE_CHECKING:
    import redis

# Our own form. Names in braces are filled in. `{key}` or `{keys}` must be a whole value, so that it can be read back.
_DEFAULT_PAYLOAD: Mapping[str, Any] = {
    "job": "{job}",
    "snapshot": "{snapshot}",
    "entity": "{entity}",
    "keys": "{keys}",
    "model": "{model}",
}
_NAMES = ("job", "snapshot", "entity", "key", "keys", "model")
# A character that no template holds stands in for the key, until all keys are put in at once.
_PLACE = "\ue000"
# PostgreSQL takes no text with NUL or half a surrogate pair.
_NOT_IN_A_KEY = re.compile("[\0\ud800-\udfff]")
_MINUTES_KEPT_SECONDS = 180


# ── Jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class JobForm:
    """How a job is written. `path` leads to its key or keys in the parsed JSON; the rest is for other readers."""

    template: Mapping[str, Any]
    path: tuple[str | int, ...]


class NotAJobError(ValueError):
    """A payload from which no keys can be read."""


def job_form(payload: Mapping[str, Any] | None, where: str) -> JobForm:
    """The form for `payload` in [embeddings]. Raises `ConfigurationError` if no key could be read back from it."""
    template = _DEFAULT_PAYLOAD if payload is None else payload
    leaves = dict(_leaves(template))
    unknown = [text for text in leaves.values() for name in re.findall(r"\{([^}]*)", text) if name not in _NAMES]
    paths = {text: path for path, text in leaves.items()}
    path = paths.get("{keys}") or paths.get("{key}")
    if path is None or unknown:
        raise ConfigurationError(
            "the payload is not usable for jobs",
            where=where,
            observed=unknown[0] if unknown else "neither '{key}' nor '{keys}' is a value of its own",
            expected=f"texts in which {', '.join(f'{{{name}}}' for name in _NAMES)} are filled in",
        )
    return JobForm(template, path)


def encode_jobs(form: JobForm, keys: pl.Series, *, snapshot: str, entity: str, model: str) -> list[bytes]:
    """A job for each key, `keys` as text. Its id combines snapshot and key, so it is always the same."""
    known = {
        "{keys}": [_PLACE],
        "{key}": _PLACE,
        "{job}": f"{snapshot[:16]}:{_PLACE}",
        "{snapshot}": snapshot,
        "{entity}": entity,
        "{model}": model,
    }
    text = json.dumps(_filled(form.template, known), ensure_ascii=False, separators=(",", ":"))
    pieces = text.split(_PLACE)
    # Escaped for JSON, but without quotation marks, which the text around the places has already.
    needs_escapes = keys.str.contains(r'["\\\x00-\x1f]').any()
    escaped = keys.map_elements(lambda key: json.dumps(key)[1:-1], pl.String) if needs_escapes else keys
    parts: list[pl.Expr] = [pl.lit(pieces[0])]
    for piece in pieces[1:]:
        parts += [pl.lit(escaped), pl.lit(piece)]
    made = pl.select(pl.concat_str(parts)).to_series() if len(keys) else pl.Series([], dtype=pl.String)
    return [job.encode() for job in made]


def decode_job(form: JobForm, payload: bytes) -> list[str]:
    """The keys of a job, as text. Raises `NotAJobError` if it holds none."""
    try:
        found = json.loads(payload)
        for name in form.path:
            found = found[name]
    except (ValueError, LookupError, TypeError, RecursionError) as exc:
        raise NotAJobError(f"not a job of this queue: {type(exc).__name__}: {exc}") from exc
    keys = found if isinstance(found, list) else [found]
    if not keys or not all(map(_is_key, keys)):
        raise NotAJobError(f"no keys at {'.'.join(map(str, form.path))}: {found!r:.100}")
    return [str(key) for key in keys]


def _is_key(key: object) -> bool:
    """Whether it is a whole number, or a text that PostgreSQL takes."""
    if isinstance(key, str):
        return _NOT_IN_A_KEY.search(key) is None
    return isinstance(key, int) and not isinstance(key, bool)


def _leaves(template: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each text in a template, with the path that leads to it."""
    if isinstance(template, str):
        yield path, template
    elif isinstance(template, Mapping):
        for name, value in template.items():
            yield from _leaves(value, (*path, name))
    elif isinstance(template, list):
        for place, value in enumerate(template):
            yield from _leaves(value, (*path, place))


def _filled(template: object, known: Mapping[str, object]) -> object:
    """The template with its names filled in. A text that is only a name becomes its value, whatever its type."""
    if isinstance(template, Mapping):
        return {name: _filled(value, known) for name, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, known) for value in template]
    if not isinstance(template, str):
        return template
    if template in known:
        return known[template]
    for name, value in known.items():
        if isinstance(value, str):
            template = template.replace(name, value)
    return template


# ── Queues ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Claim:
    """A job that a worker holds. `id` is how the queue knows it, `deliveries` how often it was handed out so far."""

    id: bytes
    payload: bytes
    deliveries: int


@dataclass(frozen=True)
class DeadJob:
    """A job that failed too often or makes no sense, and why."""

    payload: bytes
    error: str
    deliveries: int


@dataclass(frozen=True)
class QueueStatus:
    """How many jobs wait, are in progress and are dead; how many were done, in total and in the last full minute.

    `oldest_seconds` is the age of the oldest job that waits or is in progress; None if there is none, and for lists.
    """

    waiting: int
    in_flight: int
    dead: int
    done: int
    done_last_minute: int
    workers: int
    oldest_seconds: float | None

    @property
    def is_empty(self) -> bool:
        """Whether no job waits or is in progress."""
        return not self.waiting and not self.in_flight


class JobQueue(ABC):
    """One queue, in either form. Methods raise what the client raises. If it was flushed away, it starts again, empty.

    A worker that is silent for `claim_after` seconds loses its jobs to others. `{NAME}:done` counts the jobs that are
    done, and `{NAME}:done:MINUTE` those of a minute of the server's clock.
    """

    form: ClassVar[Literal["stream", "list"]]

    def __init__(self, client: redis.Redis, name: str, claim_after: float) -> None:
        # The client's own annotations mix its synchronous and asynchronous halves.
        self._client: Any = client
        # Keys begin with the name in braces, so that a cluster keeps all of them on one node.
        self._name = tag = f"{{{name}}}"
        self._jobs, self._dead, self._done = f"{tag}:jobs", f"{tag}:dead", f"{tag}:done"
        self._silent_ms = int(claim_after * 1000)

    def require_form(self, where: str) -> None:
        """Raise `ConfigurationError` if the queue of this name exists in another form."""
        found = self._client.type(self._jobs).decode()
        if found not in {"none", self.form}:
            drain = f"let workers drain it with queue = {found!r} first, or " if found in {"stream", "list"} else ""
            raise ConfigurationError(
                "the queue exists in another form",
                where=f"key {self._jobs} in {where}",
                observed=f"a {found}",
                expected=f"queue = {self.form!r}, as in [embeddings]",
                next_step=f"{drain}delete it with `redis-cli DEL {self._jobs}`",
            )

    @abstractmethod
    def put(self, payloads: Sequence[bytes]) -> None:
        """Append jobs, all in one round trip."""

    @abstractmethod
    def claim(self, worker: str, count: int, wait_seconds: float) -> list[Claim]:
        """Up to `count` different jobs for this worker, those of dead workers first. Waits only for the first job."""

    @abstractmethod
    def keep(self, worker: str) -> None:
        """Say that this worker is still working on its claims."""

    @abstractmethod
    def done(self, worker: str, claims: Sequence[Claim]) -> None:
        """Remove finished jobs."""

    @abstractmethod
    def release(self, worker: str, claims: Sequence[Claim], *, tried: bool) -> None:
        """Give back jobs still held, to be claimed at once. Unless they were `tried`, the delivery does not count."""

    @abstractmethod
    def bury(self, worker: str, claim: Claim, error: str) -> None:
        """Move a job to the dead ones, unless another worker has it by now."""

    @abstractmethod
    def leave(self, worker: str) -> None:
        """Say that this worker ends. Its jobs are given back, and the delivery does not count."""

    @abstractmethod
    def status(self) -> QueueStatus:
        """The current counts."""

    @abstractmethod
    def dead(self, limit: int) -> Iterator[DeadJob]:
        """The oldest dead jobs."""

    @abstractmethod
    def retry(self) -> int:
        """Put the dead jobs back into the queue; returns how many."""

    @abstractmethod
    def purge(self) -> int:
        """Remove all jobs, dead ones included; returns how many."""

    def _count_done(self, count: int) -> None:
        """Count finished jobs. Skipped if the server is out of memory: counting must not stop what makes room."""
        minute = f"{self._done}:{self._minute()}"
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.incrby(self._done, count)
            pipeline.incrby(minute, count)
            pipeline.expire(minute, _MINUTES_KEPT_SECONDS)
            pipeline.execute(raise_on_error=False)

    def _done_counts(self) -> tuple[int, int]:
        """The jobs done since the queue was created or purged, and those of the last full minute."""
        total, last_minute = self._client.mget(self._done, f"{self._done}:{self._minute() - 1}")
        return int(total or 0), int(last_minute or 0)

    def _minute(self) -> int:
        """The minute of the server's clock."""
        return int(self._client.time()[0]) // 60


def script(name: str) -> str:
    """A script for Redis: `queries/{name}.lua`."""
    return (Path(__file__).parent / "queries" / f"{name}.lua").read_text()
