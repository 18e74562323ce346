"""What the driver raises, as our own errors, and which of them may pass when the same is tried again.

Decided by SQLSTATE (PostgreSQL manual, appendix A) wherever there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from snapseed.errors import ConfigurationError, LoadError, ServerError, SnapseedError
from snapseed.redaction import redacted

# The server has failed, whatever was asked of it: connection, resources, operator intervention, system error, internal
# error (so it calls what nobody foresaw: a file system's limit on files, a table dropped under its hands); among other
# classes the timeouts of transactions, serialization, deadlock and lock not available.
_FAILED_CLASSES = ("08", "53", "57", "58", "XX")
_FAILED_STATES = ("25P03", "25P04", "40001", "40P01", "55P03")

# Among those, what may be otherwise a moment later. A full disk, a cancelled statement or a table's limit will not be.
_PASSING_CLASS = "08"
_PASSING_STATES = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "53300",  # too_many_connections
        "55P03",  # lock_not_available, also by lock_timeout
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now: starting up, shutting down
        "57P05",  # idle_session_timeout
    }
)
_PASSING_OF_REDIS = {
    f"redis.exceptions.{name}"
    for name in (
        "ConnectionError",
        "TimeoutError",
        "OutOfMemoryError",  # until workers have taken jobs away
        "ReadOnlyError",  # during a failover, and so the others
        "ClusterDownError",
        "MasterDownError",
        "TryAgainError",
    )
}
_LASTING_OF_REDIS = {"redis.exceptions.AuthenticationError", "redis.exceptions.AuthorizationError"}
# Of a refused connection libpq keeps the text alone, no SQLSTATE. In these cases it stays refused; a server that speaks
# another language is taken for one that may still come round.
_REFUSALS = re.compile(
    r"""authentication\ failed\ for\ user            # 28P01, and 28000 of peer, ident, LDAP and so on
      | no\ password\ supplied                      # it asked for one
      | no\ pg_hba\.conf\ entry | pg_hba\.conf\ rejects\ connection                            # 28000
      | role\ ".*"\ does\ not\ exist | role\ ".*"\ is\ not\ permitted\ to\ log\ in            # 28000
      | database\ ".*"\ does\ not\ exist | database\ ".*"\ is\ not\ currently\ accepting        # 3D000, 55000
      | permission\ denied\ for\ database                                                      # 42501
      | unrecognized\ configuration\ parameter | invalid\ value\ for\ parameter                # 42704, 22023
      | does\ not\ support\ SSL | certificate\ verify\ failed | root\ certificate\ file         # the client's own no
    """,
    re.VERBOSE,
)
# A connection string may name several servers, and each says why not.
_EACH_SERVER = "connection to server"


def may_pass(error: BaseException) -> bool:
    """Whether the same may succeed when it is tried again.

    So it may after: not reachable, starting up, too many connections, serialization, deadlock, lock timeout, connection
    lost. Takes what the driver raises, and our own errors that come from it.
    """
    if isinstance(error, SnapseedError):
        cause = error.__cause__
        return isinstance(error, ServerError) and cause is not None and may_pass(cause)
    if not isinstance(error, psycopg.Error):
        # Redis: not reachable, connection lost, reading its data back. Its client is an extra, so by name.
        names = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
        return bool(names & _PASSING_OF_REDIS) and not names & _LASTING_OF_REDIS
    if error.sqlstate:
        return error.sqlstate.startswith(_PASSING_CLASS) or error.sqlstate in _PASSING_STATES
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not _is_refused(str(error))


def not_connected(exc: psycopg.OperationalError, where: str) -> SnapseedError:
    """Our error for a connection that did not come about: `ConfigurationError` if refused, else `ServerError`."""
    observed = redacted(" ".join(str(exc).split()))
    if _is_refused(str(exc)):
        return ConfigurationError(
            "the server refused the connection",
            where=where,
            observed=observed,
            next_step="check database, role, password and SSL settings",
        )
    return ServerError(
        "the database cannot be reached",
        where=where,
        observed=observed,
        next_step="check that the server runs, and the host and port",
    )


def _is_refused(message: str) -> bool:
    answers = message.split(_EACH_SERVER)
    return all(_REFUSALS.search(answer) for answer in answers[1:] or answers)


@contextmanager
def translated(doing: str, where: str) -> Iterator[None]:
    """Turn the driver's errors into ours, at the border: `ServerError` if the server failed, else `LoadError`."""
    try:
        yield
    except psycopg.Error as exc:
        raise translate(exc, doing, where) from exc


def translate(exc: psycopg.Error, doing: str, where: str) -> SnapseedError:
    """Our error for the driver's: says what was being done, and the server's own message, constraint and detail."""
    state = exc.sqlstate or ""
    failed = state.startswith(_FAILED_CLASSES) or state in _FAILED_STATES
    lost = not state and isinstance(exc, psycopg.OperationalError | psycopg.InterfaceError)
    diagnostic = exc.diag
    message = redacted(" ".join((diagnostic.message_primary or str(exc)).split()))
    place = [where]
    for label, name in (
        ("table", diagnostic.table_name),
        ("column", diagnostic.column_name),
        ("constraint", diagnostic.constraint_name),
    ):
        if name:
            place.append(f"{label} {name!r}")
    if diagnostic.context:
        place.append(diagnostic.context.splitlines()[0])
    observed = ". ".join(part.rstrip(".") for part in (message, diagnostic.message_detail) if part)
    if failed or lost:
        return ServerError(
            f"the connection was lost while {doing}" if lost else f"the server failed while {doing}",
            where=", ".join(place),
            observed=observed + (f" [SQLSTATE {state}]" if state else ""),
            next_step=diagnostic.message_hint
            or ("run the same command again" + ("; the server's log says why it ended the session" if lost else "")),
        )
    return LoadError(
        f"PostgreSQL refused: {doing}",
        where=", ".join(place),
        observed=observed + (f" [SQLSTATE {state}]" if state else ""),
        next_step=diagnostic.message_hint,
    )
