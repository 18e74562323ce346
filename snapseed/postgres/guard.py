"""Refuse to empty tables of a database that may be somebody's real one. Fails closed, on the server's own answers."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass

from snapseed.config import Environment
from snapseed.errors import RefusedError
from snapseed.postgres.catalog import TableFacts
from snapseed.postgres.connect import Connection, Target

_PRODUCTION = re.compile(r"(?:^|[^a-z])(?:prod|production|live)(?:$|[^a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Identity:
    """Who the server says it is: its address (None on a Unix socket), database and role, and the role that logged in.

    `host` is the one that was looked up to find it, empty where an address was given instead; `asked` are database,
    role and host as the connection names them, behind which a pooler may put others.
    """

    address: str | None
    database: str
    role: str
    host: str
    session_role: str = ""
    asked: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All that may look like production."""
        return (self.database, self.role, self.host, self.session_role, *self.asked)

    def __str__(self) -> str:
        where = self.address or "a Unix socket"
        if self.host or self.address is None:
            where += f" (host {self.host or 'local'})"
        role = repr(self.role)
        if self.session_role not in {"", self.role}:
            role += f" (logged in as {self.session_role!r})"
        shown = {"", self.database, self.role, self.session_role, self.host, self.address}
        others = [repr(name) for name in dict.fromkeys(self.asked) if name not in shown]
        asked = f", asked for {', '.join(others)}" if others else ""
        return f"database {self.database!r} at {where}, role {role}{asked}"


def identify(connection: Connection) -> Identity:
    """Ask the server for its own address, database and roles, and the connection for what it asked for."""
    row = connection.execute(
        "SELECT host(inet_server_addr()), current_database(), current_user, session_user"
    ).fetchone()
    assert row is not None
    address, database, role, session_role = row
    info = connection.info
    # With an address, from the URL or from PGHOSTADDR, libpq looks up no name: any could stand there. But psycopg, too,
    # gives it the address of a name, one that it has looked up itself.
    given = info.get_parameters().get("hostaddr")
    host = info.host if given is None or _leads_to(info.host, given) else ""
    return Identity(
        None if address is None else str(address),
        str(database),
        str(role),
        host,
        str(session_role),
        (info.dbname, info.user, info.host),
    )


def _leads_to(host: str, address: str) -> bool:
    """Whether the name, or the address in its place, is that of `address`."""
    try:
        return any(found[4][0] == address for found in socket.getaddrinfo(host, None))
    except OSError:
        return False


def require_allowed(identity: Identity, target: Target, environment: Environment, *, consent: bool) -> None:
    """Raise `RefusedError` unless this server may be loaded into.

    A Unix socket and loopback are local. Any other server must stand in `allow_hosts`, by the host name that was asked
    for or by the address it answers with. Names that look like production need `consent` and `replace_existing` both.
    """
    if target.embedded is not None:
        return
    local = identity.address is None or ipaddress.ip_address(identity.address).is_loopback
    place = f"[environments.{environment.name}]"
    known = {identity.host, identity.address} - {""}
    if not local and not known & set(environment.allow_hosts):
        suggested = identity.host or identity.address
        raise RefusedError(
            "this server is not one that the environment allows",
            where=f"{target.described} ({target.source})",
            observed=str(identity),
            expected=f"a Unix socket, loopback, or a host in allow_hosts = {list(environment.allow_hosts)}",
            next_step=f"if it is the right one, add --allow-host {suggested}, or"
            f" add {suggested!r} to allow_hosts of {place}",
        )
    if any(_PRODUCTION.search(name) for name in identity.names):
        _require_both(identity, target, environment, consent=consent)


def require_ours(
    tables: Collection[TableFacts], loaded: set[str], identity: Identity, environment: Environment, *, consent: bool
) -> None:
    """Raise `RefusedError` where a table holds rows that no load of ours put there, without consent to lose them."""
    place = f"[environments.{environment.name}]"
    foreign = sorted(str(table.name) for table in tables if table.has_rows and str(table.name) not in loaded)
    if foreign and not (consent or environment.replace_existing):
        raise RefusedError(
            "these tables hold rows that snapseed did not load",
            where=str(identity),
            observed=f"rows in {', '.join(foreign)}",
            expected="empty tables, or tables that snapseed has filled before",
            next_step=f"to replace the rows, add --yes, or replace_existing = true to {place}",
        )


def _require_both(identity: Identity, target: Target, environment: Environment, *, consent: bool) -> None:
    if not (consent and environment.replace_existing):
        raise RefusedError(
            "a name looks like production",
            where=f"{target.described} ({target.source})",
            observed=str(identity),
            expected="both --yes and replace_existing = true for a name with prod, production or live in it",
            next_step="check the target twice; if it is the right one, add --yes to the command and"
            f" replace_existing = true to [environments.{environment.name}]",
        )
