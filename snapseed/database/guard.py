"""Refuse to empty tables of a database that may be somebody's real one. Fails closed, on the server's own answers."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass

from snapseed.config import Environment
from snapseed.database.catalog import TableFacts
from snapseed.database.connect import Connection, Target
from snapseed.errors import RefusedError

_PRODUCTION = re.compile(r"(?:^|[^a-z])(?:prod|production|live)(?:$|[^a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Identity:
    """Who the server says it is: its address (None on a Unix socket), database and role; and the host we asked for."""

    address: str | None
    database: str
    role: str
    host: str

    def __str__(self) -> str:
        where = self.address or "a Unix socket"
        return f"database {self.database!r} at {where} (host {self.host or 'local'}), role {self.role!r}"


def identify(connection: Connection) -> Identity:
    """Ask the server for its own address, database and role."""
    row = connection.execute("SELECT host(inet_server_addr()), current_database(), current_user").fetchone()
    assert row is not None
    address, database, role = row
    return Identity(None if address is None else str(address), str(database), str(role), connection.info.host)


def require_allowed(identity: Identity, target: Target, environment: Environment, *, consent: bool) -> None:
    """Raise `RefusedError` unless this server may be loaded into.

    A Unix socket and loopback are local. Any other server must stand in `allow_hosts`, by the host name that was asked
    for or by the address it answers with. Names that look like production need `consent` and `replace_existing` both.
    """
    if target.embedded is not None:
        return
    local = identity.address is None or ipaddress.ip_address(identity.address).is_loopback
    place = f"[environments.{environment.name}]"
    if not local and not {identity.host, identity.address} & set(environment.allow_hosts):
        raise RefusedError(
            "this server is not one that the environment allows",
            where=f"{target.described} ({target.source})",
            observed=str(identity),
            expected=f"a Unix socket, loopback, or a host in allow_hosts = {list(environment.allow_hosts)}",
            next_step=f"if it is the right one, add --allow-host {identity.host}, or"
            f" add {identity.host!r} to allow_hosts of {place}",
        )
    if any(_PRODUCTION.search(name) for name in (identity.database, identity.role, identity.host)):
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
            next_step="check the target twice",
        )
