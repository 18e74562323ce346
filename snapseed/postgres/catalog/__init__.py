"""What the database's catalogs say about the tables of a snapshot, as frozen records that a plan can be made from."""

from __future__ import annotations

from snapseed.postgres.catalog.facts import (
    ColumnFacts,
    ForeignKeyFacts,
    IndexFacts,
    ReferenceFacts,
    RuleFacts,
    SequenceFacts,
    ServerFacts,
    TableFacts,
    TableName,
    TriggerFacts,
)
from snapseed.postgres.catalog.read import read_server, read_tables

__all__ = [
    "ColumnFacts",
    "ForeignKeyFacts",
    "IndexFacts",
    "ReferenceFacts",
    "RuleFacts",
    "SequenceFacts",
    "ServerFacts",
    "TableFacts",
    "TableName",
    "TriggerFacts",
    "read_server",
    "read_tables",
]
