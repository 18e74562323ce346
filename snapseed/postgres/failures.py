"""Translate the driver's errors into ours, and decide which failures a retry may fix.

The SQLSTATE decides (PostgreSQL manual, appendix A) wherever there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from snapseed.errors import ConfigurationError, LoadError, ServerError, SnapseedError, StoreError
from snapseed.redaction import redacted

# The server failed, whatever we asked of it. Classes: connection, resources, operator intervention, system error,
# internal error (which also covers a file system's size limit and a table dropped during a query). States: timeouts of
# transactions, serialization, deadlock, lock not available.
_FAILED_CLASSES = ("08", "53", "57", "58", "XX")
_FAILED_STATES = ("25P03", "25P04", "40001", "40P01", "55P03")

# On a standby, or by a setting.
_READ_ONLY = "25006"

# Those of them that may succeed on a retry. A full disk, a canceled statement or a full table will not.
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
    "ConnectionError",
    "TimeoutError",
    "OutOfMemoryError",  # until workers have removed jobs
    *("ReadOnlyError", "ClusterDownError", "MasterDownError", "TryAgainError"),  # during a failover
}
_LASTING_OF_REDIS = {"AuthenticationError", "AuthorizationError"}
# For a refused connection libpq gives only a text, no SQLSTATE. These texts mean that a retry will not help. A server
# that answers in another language is retried.
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
# A connection string may name several servers; each gives its reason after these words.
_EACH_SERVER = "connection to server"


def may_pass(error: BaseException) -> bool:
    """Whether a retry may succeed. Takes the drivers' errors, and our own errors that they caused."""
    if isinstance(error, SnapseedError):
        cause = error.__cause__
        return isinstance(error, StoreError) or (
            isinstance(error, ServerError) and cause is not None and may_pass(cause)
        )
    if not isinstance(error, psycopg.Error):
        # Compared by name, since the client for Redis is an extra that may not be installed.
        names = {kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "redis.exceptions"}
        return bool(names & _PASSING_OF_REDIS) and not names & _LASTING_OF_REDIS
    if error.sqlstate:
        return error.sqlstate.startswith(_PASSING_CLASS) or error.sqlstate in _PASSING_STATES
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not _is_refused(str(error))


def not_connected(exc: psycopg.OperationalError, where: str) -> SnapseedError:
    """Our error for a connection that failed: `ConfigurationError` if the server refused us, else `ServerError`."""
    observed = redacted(" ".join(str(exc).split()))
    if _is_refused(str(exc)):
        advice = "check database, role, password and SSL settings"
        return ConfigurationError("the server refused the connection", where=where, observed=observed, next_step=advice)
    if re.search("too many|connection slots", observed):
        advice = "use fewer --connections or --jobs, or wait until others are done"
        return ServerError(
            "the server has no room for another connection", where=where, observed=observed, next_step=advice
        )
    advice = "check that the server runs, and the host and port"
    return ServerError("the database cannot be reached", where=where, observed=observed, next_step=advice)


def _is_refused(message: str) -> bool:
    """Whether every server that was tried refused the connection for good."""
    answers = message.split(_EACH_SERVER)
    return all(_REFUSALS.search(answer) for answer in answers[1:] or answers)


@contextmanager
def translated(doing: str, where: str) -> Iterator[None]:
    """Turn the driver's errors into ours: `ServerError` if the server failed, else `LoadError`."""
    try:
        yield
    except psycopg.Error as exc:
        raise translate(exc, doing, where) from exc


def translate(exc: psycopg.Error, doing: str, where: str) -> SnapseedError:
    """Our error for the driver's. It says what we were doing, and the server's message, constraint and detail."""
    state = exc.sqlstate or ""
    failed = state.startswith(_FAILED_CLASSES) or state in _FAILED_STATES
    lost = not state and isinstance(exc, psycopg.OperationalError | psycopg.InterfaceError)
    diagnostic = exc.diag
    message = redacted(" ".join((diagnostic.message_primary or str(exc)).split()))
    names = {label: getattr(diagnostic, f"{label}_name") for label in ("table", "column", "constraint")}
    places = [where, *(f"{label} {name!r}" for label, name in names.items() if name)]
    if diagnostic.context:
        places.append(diagnostic.context.splitlines()[0])
    observed = ". ".join(part.rstrip(".") for part in (message, diagnostic.message_detail) if part)
    observed += f" [SQLSTATE {state}]" if state else ""
    kind: type[SnapseedError] = LoadError
    summary, advice = f"PostgreSQL refused: {doing}", None
    if failed:
        kind, summary, advice = ServerError, f"the server failed while {doing}", "run the same command again"
    elif lost:
        kind, summary = ServerError, f"the connection was lost while {doing}"
        advice = "run the same command again; the server's log says why it ended the session"
    elif state == "42501":  # insufficient_privilege
        advice = "let the owner GRANT what is missing; under row-level security, connect as the owner or with BYPASSRLS"
    elif state == _READ_ONLY:
        advice = "connect to the primary server, or RESET default_transaction_read_only of the role or the database"
    return kind(summary, where=", ".join(places), observed=observed, next_step=diagnostic.message_hint or advice)
