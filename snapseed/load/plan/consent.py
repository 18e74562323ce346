"""Refuse what a load may do only with the user's consent: lose rows of others, or add the same rows once more."""

from __future__ import annotations

from snapseed.config import Environment
from snapseed.errors import RefusedError
from snapseed.load.plan import Prepared
from snapseed.load.request import LoadRequest, Mode
from snapseed.postgres.guard import require_ours


def require_consent(prepared: Prepared, request: LoadRequest, environment: Environment, snapshot: str) -> None:
    """Raise `RefusedError` if the load needs consent that was not given. `snapshot` is the snapshot's identity.

    Rows on another server, in a partition that is a foreign table, are never written or removed, nor are those in a
    table of an extension, such as the jobs of pg_cron.
    """
    tables = [*(prepared.facts[entity.name] for entity in prepared.entities), *prepared.children]
    identity, filled = prepared.identity, prepared.filled
    assert identity is not None
    if remote := [f"{name} of {table.name}" for table in tables for name in table.foreign_partitions]:
        raise RefusedError(
            "the rows of a partition are on another server",
            where=str(identity),
            observed=f"foreign tables: {', '.join(remote)}",
            expected="partitions in this database",
            next_step="detach these partitions, or leave the table out by naming the others with --only",
        )
    if taken := [f"{table.name}, of {table.extension}" for table in tables if table.extension]:
        raise RefusedError(
            "a table belongs to an extension",
            where=str(identity),
            observed="; ".join(taken),
            expected="tables of your own",
            next_step="leave the table out by naming the others with --only",
        )
    if request.mode is not Mode.APPEND:
        if request.mode is Mode.REPAIR:
            tables = [prepared.facts[name] for name, found in prepared.changes.items() if found.commands - {"INSERT"}]
        require_ours(tables, filled.keys() - prepared.changed, identity, environment, consent=request.consent)
        return
    twice = [
        f"{facts.name} ({len(again)} of {len(entity.files)} parts)"
        for entity in prepared.entities
        if (facts := prepared.facts[entity.name]).has_rows and (found := filled.get(str(facts.name)))
        # The record of an older version of snapseed has no parts.
        if (again := found.parts & set(entity.part_digests())) or snapshot in found.identities
    ]
    if twice and not request.consent:
        raise RefusedError(
            "these tables already hold rows of this snapshot",
            where=str(identity),
            observed=f"loaded before, and not replaced since: {', '.join(sorted(twice))}",
            expected="tables to which no part of this snapshot was added yet",
            next_step="there is nothing to do if a job was only repeated; to add the rows once more, add --yes",
        )
