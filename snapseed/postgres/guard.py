"""Refuse to change a database that may be somebody's real one.

What counts is what the server says about itself, and where our own connection ends.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass

from psycopg.conninfo import conninfo_to_dict

from snapseed.config import Environment
from snapseed.errors import RefusedError
from snapseed.postgres.catalog import read_rows
from snapseed.postgres.connect import Connection, Target, target_of
from snapseed.postgres.facts import TableFacts

# What names of production databases contain, as a word or joined to others, and other words with these letters.
_PRODUCTION = re.compile(r"prod|prd|live")
_HARMLESS = re.compile(
    r"""productions | reproduction | prod (?: uc (?!tion) | u[kit] | ig | ott )
      | (?<![a-z]) (?: a | c | en | o | out | re ) live | deliver | sliver | (?<![a-z]) liver (?!e)
      | (?<![a-z]) live [ds] (?![a-z]) | live (?: li | ly | ness | stock )""",
    re.VERBOSE,
)
# The path of a socket may have any letters in it, such as those of a temporary folder: there, only a word of its own.
_PRODUCTION_IN_PATH = re.compile(r"(?<![a-z0-9])(?:prod|prd|live|production)(?![a-z0-9])")


@dataclass(frozen=True)
class Identity:
    """Who the server says it is: its address (None for a Unix socket), database, role and major version.

    `peer` is where our own connection ends, also None for a Unix socket. A proxy or pooler there may reach the server
    in another way. `host` is the name that was looked up to find the server, empty if an address was given.
    `session_role` logged in; `role` is what it became by SET ROLE. `asked` are database, role and host as the
    connection string names them. A pooler may replace all three by others.
    """

    address: str | None
    database: str
    role: str
    host: str
    peer: str | None
    session_role: str = ""
    asked: tuple[str, ...] = ()
    version: int = 0

    @property
    def server(self) -> str:
        """The server and its version, in one line."""
        return f"PostgreSQL {self.version}, {self}"

    def __str__(self) -> str:
        where = self.address or "a Unix socket"
        if self.host or self.address is None:
            where += f" (host {self.host or 'local'})"
        if not _is_local(self.peer) and self.peer != self.address:
            where += f", reached through {self.peer}"
        role = repr(self.role)
        if self.session_role not in {"", self.role}:
            role += f" (logged in as {self.session_role!r})"
        shown = {"", self.database, self.role, self.session_role, self.host, self.address}
        others = [repr(name) for name in dict.fromkeys(self.asked) if name not in shown]
        asked = f", asked for {', '.join(others)}" if others else ""
        return f"database {self.database!r} at {where}, role {role}{asked}"


def identify(connection: Connection) -> Identity:
    """Ask the server for its address, database and roles, and the connection for what it asked for."""
    (row,) = read_rows(
        connection,
        b"SELECT host(inet_server_addr()) AS address, current_database() AS database, current_user AS role,"
        b" session_user AS session_role",
    )
    info = connection.info
    # With an address, from the URL or from PGHOSTADDR, libpq does not look up the name, so the name proves nothing.
    # psycopg looks names up itself, and then passes the address on.
    given = info.get_parameters().get("hostaddr")
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as wire:
        peer = None if wire.family == socket.AF_UNIX else str(wire.getpeername()[0])
    return Identity(
        **row,
        host=info.host if given is None or _resolves_to(info.host, given) else "",
        peer=peer,
        asked=(info.dbname, info.user, info.host),
        version=info.server_version // 10_000,
    )


def _resolves_to(host: str, address: str) -> bool:
    """Whether a name stands for this address."""
    try:
        return any(found[4][0] == address for found in socket.getaddrinfo(host, None))
    except OSError:
        return False


def _is_local(address: str | None) -> bool:
    """Whether an end of a connection is on this machine."""
    return address is None or ipaddress.ip_address(address).is_loopback


def identify_allowed(connection: Connection, target: Target, environment: Environment, *, consent: bool) -> Identity:
    """Identify the server, and raise `RefusedError` unless this environment may change it."""
    identity = identify(connection)
    require_allowed(identity, target, environment, consent=consent)
    return identity


def require_allowed(identity: Identity, target: Target, environment: Environment, *, consent: bool) -> None:
    """Raise `RefusedError` unless this environment may change the server.

    It is local, and allowed, if both ends are a Unix socket or loopback: of our connection, and of the server's. Any
    other must be listed in `allow_hosts`, by the host name that was asked for or by the address of either end. A name
    that looks like production needs both `consent` and `replace_existing`. The embedded server is the project's own.
    """
    where = f"{target.described} ({target.source})"
    ends = (identity.peer, identity.address)
    if target.embedded is not None:
        if ends != (None, None):
            raise RefusedError(
                "the server that answers is not the embedded one",
                where=where,
                observed=str(identity),
                expected="a Unix socket at both ends",
                next_step="run `snapseed db stop`, then the same command again",
            )
        return
    place = f"[environments.{environment.name}]"
    # A proxy on this machine may lead to a server on another one: a loopback address proves nothing.
    remote = [end for end in ends if end is not None and not _is_local(end)]
    if remote and not ({identity.host, *remote} - {""}) & set(environment.allow_hosts):
        suggested = identity.host or remote[0]
        raise RefusedError(
            "this environment does not allow this server",
            where=where,
            observed=str(identity),
            expected=f"a Unix socket, loopback, or a host in allow_hosts = {list(environment.allow_hosts)}",
            next_step=f"if it is the right one, add --allow-host {suggested}, or"
            f" add {suggested!r} to allow_hosts of {place}",
        )
    names = (identity.database, identity.role, identity.host, identity.session_role, *identity.asked)
    if looks_like_production(*names) and not (consent and environment.replace_existing):
        raise RefusedError(
            "a name looks like production",
            where=where,
            observed=str(identity),
            expected="both --yes and replace_existing = true for a name that contains prod, prd, production or live",
            next_step="check the target twice; if it is the right one, add --yes to the command and"
            f" replace_existing = true to {place}",
        )


def require_not_the_source(connection: Connection, identity: Identity, environment: Environment) -> None:
    """Raise `RefusedError` if name, port and host of the environment's `source` lead to this database."""
    if "source" in environment.unset or environment.source is None:
        return
    source = conninfo_to_dict(target_of(environment.source, environment.sources["source"]).conninfo)
    host = str(source.get("hostaddr") or source.get("host") or "localhost")
    host = "localhost" if host.startswith("/") and identity.peer else host
    ends = ("127.0.0.1", "::1") if _is_local(identity.peer) else (str(identity.peer),)
    is_host = host in identity.asked[-1:] or any(_resolves_to(host, end) for end in ends)
    place = (identity.database, str(connection.info.port))
    if is_host and (source.get("dbname"), str(source.get("port", 5432))) == place:
        raise RefusedError(
            "this is the database that the snapshot was captured from, which would lose its rows",
            where=str(identity),
            observed="the snapshot has masked values or only a part of the rows",
            expected=f"another database than the `source` of [environments.{environment.name}], also with --yes",
            next_step="check `database` of the environment, or name another one with --database",
        )


def looks_like_production(*names: str) -> bool:
    """Whether one of the names contains `prod`, `prd`, `production` or `live`, other than in a word like `product`.

    `myproddb`, `shopProd` and `prd01` do; `products`, `delivery` and `olive` do not. In the path of a Unix socket, only
    words of their own count: `/run/shop-prod`, but not `/tmp/eprdig1i`.
    """
    if paths := [name for name in names if name.startswith(("/", "unix:"))]:
        names = tuple(name for name in names if name not in paths)
        if any(_PRODUCTION_IN_PATH.search(path.lower()) for path in paths):
            return True
    # Each name as it is, and with the words of camel case apart: `goLive`.
    texts = [text.lower() for name in names for text in (name, re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))]
    return any(_PRODUCTION.search(_HARMLESS.sub(" ", text)) for text in texts)


def require_ours(
    tables: Collection[TableFacts], loaded: set[str], identity: Identity, environment: Environment, *, consent: bool
) -> None:
    """Raise `RefusedError` if a table holds rows that snapseed did not load, unless the user consents to lose them."""
    if foreign := sorted(str(table.name) for table in tables if table.has_rows and str(table.name) not in loaded):
        refusal = RefusedError(
            "these tables hold rows that snapseed did not load",
            where=str(identity),
            observed=f"rows in {', '.join(foreign)}",
            expected="empty tables, or only rows that a load has put there and nobody has changed since",
            next_step=f"`snapseed diff {environment.name}` shows those in its own tables, --only leaves tables out;"
            " to lose these rows",
        )
        require_consent_to_replace(refusal, environment, consent=consent)


def require_consent_to_replace(refusal: RefusedError, environment: Environment, *, consent: bool) -> None:
    """Raise an error about rows that would be replaced, unless the user consents. Its next step ends with how to."""
    if not (consent or environment.replace_existing):
        how = f"add --yes, or replace_existing = true to [environments.{environment.name}]"
        refusal.next_step = f"{refusal.next_step}, {how}"
        raise refusal
