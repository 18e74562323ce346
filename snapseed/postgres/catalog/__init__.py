"""What the catalogs say about tables, as frozen records."""

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
