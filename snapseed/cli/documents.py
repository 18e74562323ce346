"""Every result as a JSON document for programs, made from the report's own structure. The names are a contract.

A dataclass becomes an object with all its fields. Where the contract differs, `documents.toml` says how.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from snapseed.errors import SnapseedError

Document = dict[str, object]

# By the name of a class, so that a command imports only what it reports on.
_SHAPES: dict[str, str] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
# Fields that are computed, by class and name.
_COMPUTED: dict[str, Callable[[Any], object]] = {
    "ChangedRow.columns": lambda row: {
        name: {"snapshot": old, "database": new} for name, (old, new) in row.columns.items()
    },
    "CiReport.error": lambda report: report.error and failure(report.error),
    "CiReport.identity": lambda report: report.manifest and report.manifest.identity,
    "CommittedResult.agrees": lambda result: not result.findings,
    "DeadJob.job": lambda job: job.payload.decode("utf-8", "replace"),
    "ChildPlan.disable": lambda table: _names(table.disable_triggers, table.disable_rules),
    "DiffReport.sides": lambda report: [report.left, report.right],
    "EntityRecord.files": lambda entity: entity.file_count,
    "Fingerprint.fingerprint": str,
    "LoadRecord.loaded_at": lambda record: record.loaded_at.isoformat(),
    # Numeric in the database, because a seed may be too large for a bigint.
    "LoadRecord.seed": lambda record: None if record.seed is None else int(record.seed),
    "LoadReport.verified": lambda report: bool(report.verified),
    "Page.bytes": lambda page: len(page.html.encode()),
    "Requirement.error": lambda requirement: requirement.error and requirement.error.details(),
    "ResetReport.done": lambda report: "loaded" if report.loaded else "copied",
    "StateMark.saved_at": lambda state: state.saved_at.isoformat(),
    "TablePlan.copy": lambda table: "binary" if table.binary else "text",
    "TablePlan.disable": lambda table: _names(table.disable_triggers, table.disable_rules),
    "TablePlan.sequences": lambda table: _names(table.sequences),
}
# Values that are shown as text, although they are dataclasses.
_TEXTS = {"TableName"}


def document(value: object) -> Any:  # noqa: ANN401 - whatever JSON has
    """A report, or any part of one, as JSON has it. What JSON does not know becomes text."""
    name = type(value).__name__
    if value is None or value is msgspec.UNSET or type(value) in {str, bool, int, float}:
        return None if value is msgspec.UNSET else value
    if isinstance(value, Mapping):
        return {str(key): document(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [document(item) for item in value]
    if name in _SHAPES:
        return dict(_fields(value, name))
    if dataclasses.is_dataclass(value) and name not in _TEXTS:
        return {field.name: document(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return one_line(value)


def one_line(value: object) -> str:
    """A value as text, bytes in hexadecimal digits."""
    return f"\\x{value.hex()}" if isinstance(value, bytes) else " ".join(str(value).split())


def failure(error: SnapseedError) -> Document:
    """What a command failed with."""
    return {"type": type(error).__name__, "summary": error.summary, **error.details()}


def _fields(value: object, name: str) -> Iterator[tuple[str, object]]:
    """The fields of a document, as the contract in `documents.toml` names them."""
    for field in _SHAPES[name].split():
        new, _, path = field.partition("=")
        if new.startswith("*"):
            yield from document(getattr(value, new[1:])).items()
        elif compute := _COMPUTED.get(f"{name}.{new}"):
            yield new, document(compute(value))
        else:
            yield new, document(attrgetter(path or new)(value))


def _names(*groups: Any) -> list[str]:  # noqa: ANN401 - sequences of things with a name
    return [item.name for group in groups for item in group]
