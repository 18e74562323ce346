"""Every error that snapseed raises on purpose, and the exit code each one means.

The tree::

    SnapseedError
    ├── UsageError                2  the command line asks for something that does not exist
    ├── ConfigurationError        2  snapseed.toml or an environment variable is wrong
    ├── GeneratorError            2  a generator raised, or returned rows that break its declaration
    ├── SnapshotError             2  a snapshot cannot be written, or is not what its manifest says
    │   └── ManifestError         2  manifest.json itself is missing, damaged or of another format
    ├── SchemaError               2  the database's tables do not fit the snapshot
    ├── LoadError                 2  PostgreSQL refused the rows (a constraint, a type, a privilege)
    ├── EmbeddingError            2  the embedder failed, or gave something else than vectors
    ├── VerificationError         1  the check ran, and something differs
    ├── RefusedError              3  a guard said no
    ├── ServerError               4  PostgreSQL or Redis failed or is not reachable; worth a retry
    │   └── EmbedderAwayError     4  the embedder fails over any text
    └── InterruptedByUserError  130  Ctrl-C
        └── TerminatedError     143  SIGTERM
"""

from __future__ import annotations

from typing import ClassVar

_LINE_END = "\n"
# Further lines of a detail stand below its first.
_CONTINUED = _LINE_END + " " * 12


class SnapseedError(Exception):
    """The root of all deliberate failures.

    Says what happened (`summary`), and, where they are known, what was observed and expected, where, and the next
    step. Carries its parts as fields, and survives pickling, so that a worker process can raise it.
    """

    exit_code: ClassVar[int] = 2
    # How far the run came that this error ended, from a use case that reports that. It is not pickled.
    report: object | None = None

    def __init__(
        self,
        summary: str,
        *,
        observed: str | None = None,
        expected: str | None = None,
        where: str | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(summary)
        self.summary = summary
        self.observed = observed
        self.expected = expected
        self.where = where
        self.next_step = next_step

    def details(self) -> dict[str, str]:
        """The known parts in the order in which they are shown; absent ones are left out."""
        parts = {"where": self.where, "observed": self.observed, "expected": self.expected, "next": self.next_step}
        return {name: text for name, text in parts.items() if text}

    def __str__(self) -> str:
        lines = [f"  {name + ':':<10}{_CONTINUED.join(text.split(_LINE_END))}" for name, text in self.details().items()]
        return "\n".join([self.summary, *lines])

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.summary, self.observed, self.expected, self.where, self.next_step))


def _rebuild(
    kind: type[SnapseedError],
    summary: str,
    observed: str | None,
    expected: str | None,
    where: str | None,
    next_step: str | None,
) -> SnapseedError:
    return kind(summary, observed=observed, expected=expected, where=where, next_step=next_step)


class UsageError(SnapseedError):
    """The command line asks for something that does not exist or cannot be."""


class ConfigurationError(SnapseedError):
    """snapseed.toml, or an environment variable that overrides it, is wrong."""


class GeneratorError(SnapseedError):
    """A generator raised, or returned rows that break its own declaration."""


class SnapshotError(SnapseedError):
    """A snapshot cannot be written, or its files are not what its manifest says."""


class ManifestError(SnapshotError):
    """manifest.json is missing, damaged, or of a format this version does not know."""


class SchemaError(SnapseedError):
    """The tables of the database do not fit the snapshot."""


class LoadError(SnapseedError):
    """PostgreSQL refused the rows. Nothing was changed."""


class EmbeddingError(SnapseedError):
    """The embedder failed, or returned something else than a vector for each text."""


class VerificationError(SnapseedError):
    """The check ran, and the database does not hold what the manifest says."""

    exit_code = 1


class RefusedError(SnapseedError):
    """A guard said no. Nothing was touched."""

    exit_code = 3


class ServerError(SnapseedError):
    """PostgreSQL or Redis failed, or cannot be reached. The same command may pass when run again."""

    exit_code = 4


class EmbedderAwayError(ServerError):
    """The embedder fails over any text: a model that is missing, a service that is not there."""


class InterruptedByUserError(SnapseedError):
    """Ctrl-C arrived. What was under way has been undone."""

    exit_code = 130


class TerminatedError(InterruptedByUserError):
    """SIGTERM arrived. What was under way has been undone."""

    exit_code = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM, as the command line's handler raises it: whatever minds Ctrl-C minds it as well."""


def interruption(
    by: KeyboardInterrupt, summary: str, *, where: str | None = None, next_step: str | None = None
) -> InterruptedByUserError:
    """The error for an interrupt, with the exit code of its signal."""
    kind = TerminatedError if isinstance(by, Terminated) else InterruptedByUserError
    return kind(summary, where=where, next_step=next_step)
