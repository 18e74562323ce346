"""Every error that snapseed raises on purpose, with its exit code: 2 unless its class says otherwise."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar

from snapseed.redaction import redacted

# The lines of a detail are aligned.
_CONTINUED = "\n" + " " * 12


@dataclass(eq=False, repr=False)
class SnapseedError(Exception):
    """The root of all deliberate failures.

    `summary` says what happened. The other fields, each None if unknown, say what was observed and expected, where, and
    what to do next, without passwords: any of them may quote a URL. It can be pickled, so that a worker process can
    raise it.
    """

    exit_code: ClassVar[int] = 2
    summary: str
    _: KW_ONLY
    observed: str | None = None
    expected: str | None = None
    where: str | None = None
    next_step: str | None = None
    # How far the run came that this error ended, from a use case that reports that. It is not pickled.
    report: object | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        for name in ("summary", "observed", "expected", "where", "next_step"):
            if text := getattr(self, name):
                setattr(self, name, redacted(text))

    def details(self) -> dict[str, str]:
        """The fields that are known, in the order in which they are shown."""
        parts = {"where": self.where, "observed": self.observed, "expected": self.expected, "next": self.next_step}
        return {name: text for name, text in parts.items() if text}

    def __str__(self) -> str:
        lines = [f"  {name + ':':<10}{text}".replace("\n", _CONTINUED) for name, text in self.details().items()]
        return "\n".join([self.summary, *lines])

    def __reduce__(self) -> tuple[object, ...]:
        fields = {name: value for name, value in vars(self).items() if name != "report"}
        return type(self), (self.summary,), fields


class UsageError(SnapseedError):
    """The command line asks for something that does not exist or cannot be done."""


class ConfigurationError(SnapseedError):
    """snapseed.toml, or an environment variable that overrides it, is wrong."""


class MachineError(SnapseedError):
    """Out of disk, memory or open files, or not allowed to write where the command was told to."""


class GeneratorError(SnapseedError):
    """A generator raised, or returned rows that break its declaration."""


class SnapshotError(SnapseedError):
    """A snapshot cannot be written, or its files are not what its manifest says."""


class SpaceError(SnapshotError):
    """There is no space left for a snapshot."""


class ManifestError(SnapshotError):
    """manifest.json is missing, damaged, or of a format that this version does not know."""


class SchemaError(SnapseedError):
    """The tables of the database do not fit the snapshot."""


class LoadError(SnapseedError):
    """PostgreSQL refused the rows. Nothing was changed."""


class EmbeddingError(SnapseedError):
    """The embedder failed, or did not return one vector for each text."""


class VerificationError(SnapseedError):
    """The check ran, and the database does not hold what the manifest says."""

    exit_code = 1


class RefusedError(SnapseedError):
    """A guard said no. Nothing was changed."""

    exit_code = 3


class ServerError(SnapseedError):
    """PostgreSQL or Redis failed, or cannot be reached. The same command may succeed when it is run again."""

    exit_code = 4


class StoreError(ServerError):
    """An object store failed, or cannot be reached."""


class EmbedderAwayError(ServerError):
    """The embedder fails for every text: its model is missing, or its service is down."""


class InterruptedByUserError(SnapseedError):
    """Ctrl-C. What was in progress has been undone."""

    exit_code = 130


class TerminatedError(InterruptedByUserError):
    """SIGTERM. What was in progress has been undone."""

    exit_code = 143


class Interrupted(KeyboardInterrupt):
    """SIGINT, raised by the command line's handler."""


class Terminated(Interrupted):
    """SIGTERM, raised by the command line's handler. Code that handles Ctrl-C handles it too."""


def is_from_outside(exc: BaseException) -> bool:
    """Whether an exception ends the whole run: a signal, as opposed to a `raise KeyboardInterrupt` in a generator."""
    by_python = isinstance(exc, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return by_python or isinstance(exc, Interrupted)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Hold back Ctrl-C. It reaches the whole process group, and processes that are started inside never see it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def interruption(
    by: KeyboardInterrupt, summary: str, *, where: str | None = None, next_step: str | None = None
) -> InterruptedByUserError:
    """The error for an interrupt, with the exit code of its signal."""
    kind = TerminatedError if isinstance(by, Terminated) else InterruptedByUserError
    return kind(summary, where=where, next_step=next_step)


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Import libraries of an extra. Raises `ConfigurationError` if one is missing: what needs it, and how to get it."""
    try:
        yield
    except ModuleNotFoundError as exc:
        observed, get = f"no package {exc.name}", f"pip install 'snapseed[{name}]'"
        raise ConfigurationError(f"{what} not installed", observed=observed, next_step=get) from exc
