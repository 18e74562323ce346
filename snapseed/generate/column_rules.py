"""What the project's schema file says about columns, so that generating finds what a load would refuse.

It is read word by word, without a server. What is not understood here, the database decides.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from snapseed.config.settings import decoded, suggestion
from snapseed.errors import ConfigurationError, GeneratorError
from snapseed.generate.entity import Entity
from snapseed.snapshot.types import TYPE_NAMES, Family

# Comments and texts with escapes are passed over; a text, a quoted name, a word, and any other character are kept.
_TOKEN = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | \$(\w*)\$.*?\$\1\$ | [eE]'(?:\\.|''|[^'\\])*'
        | (?P<text>'(?:[^']|'')*)' | "(?P<name>(?:[^"]|"")+)" | (?P<word>\w+|\S)""",
    re.VERBOSE | re.DOTALL,
)
_CHARACTERS = {"character varying", "character"}
_LENGTH = re.compile(r"(?:varchar|char|bpchar|character(?: varying)?) \( (\d+) \)")


@dataclass(frozen=True)
class ColumnRule:
    """What a column refuses: NULL, texts of more characters, other labels than those of its enum, any value.

    It is `required` if it is not NULL, and the database has no value of its own for it.
    """

    not_null: bool = False
    required: bool = False
    generated: bool = False
    longest: int | None = None
    labels: frozenset[str] | None = None


@dataclass(frozen=True)
class SchemaRules:
    """The rules of columns by the name of their table, the labels of enums, and every word of the file."""

    tables: Mapping[str, Mapping[str, ColumnRule]] = field(default_factory=dict)
    enums: Mapping[str, frozenset[str]] = field(default_factory=dict)
    words: frozenset[str] = frozenset()

    def rules_of(self, entity: Entity) -> dict[str, ColumnRule]:
        """What each column of the entity refuses, by this file and by its declared type.

        Raises `GeneratorError` for a type that is neither PostgreSQL's nor in this file, if one can tell, for a column
        that the entity must fill and does not, and for one that the database computes.
        """
        table, rules = self.tables.get(entity.table, {}), {}
        where = f"{entity.function.__code__.co_filename}, entity {entity.name!r}, column "
        missing = [name for name, rule in table.items() if rule.required and name not in entity.columns]
        if missing:
            raise GeneratorError(
                "the table has columns that the entity must fill, and does not",
                where=where + ", ".join(map(repr, missing)),
                observed=f"NOT NULL without a default in the schema file, and not in `columns` of {entity.name}",
                next_step=f"declare and draw {', '.join(missing)}, or give each a DEFAULT in the schema file",
            )
        for column, kind in entity.columns.items():
            scalar = kind.element or kind
            known = scalar.family is not Family.TEXT_FORM or scalar.base in TYPE_NAMES or scalar.base in self.words
            # A name in quotes, or with a schema, is the application's own.
            is_new = not known and scalar.base.isidentifier()
            if is_new and (table or difflib.get_close_matches(scalar.base, TYPE_NAMES, n=1, cutoff=0.85)):
                raise GeneratorError(
                    "the type of a column is not known",
                    where=f"{where}{column!r}",
                    observed=kind.name,
                    expected="a type of PostgreSQL, or one that the schema file names",
                    next_step=suggestion(scalar.base, TYPE_NAMES),
                )
            rule = table.get(column, ColumnRule())
            if rule.generated:
                raise GeneratorError(
                    "the database computes a column that the entity fills",
                    where=f"{where}{column!r}",
                    observed="a generated column in the schema file, which takes no values",
                    next_step=f"leave {column} out of {entity.name}",
                )
            declared = scalar.modifiers[0] if scalar.base in _CHARACTERS and scalar.modifiers else None
            longest = min((length for length in (rule.longest, declared) if length), default=None)
            labels = self.enums.get(scalar.base.rpartition(".")[2].strip('"'))
            rules[column] = replace(rule, longest=longest, labels=labels)
        return rules


def read_schema_rules(path: Path | None) -> SchemaRules:
    """What the file says; nothing if it cannot be read. Raises `ConfigurationError` if it does not exist."""
    if path and not path.exists():
        raise ConfigurationError(
            "the schema file does not exist", where=str(path), next_step="check `schema` in snapseed.toml"
        )
    try:
        text = decoded(path.read_bytes()) if path else ""
    except (OSError, ValueError):
        text = ""
    return _rules(list(statements(text)))


def _rules(statements: Sequence[Sequence[str]]) -> SchemaRules:
    """What the statements of a schema file say."""
    tables: dict[str, dict[str, ColumnRule]] = {}
    enums: dict[str, frozenset[str]] = {}
    # What gives a column a value when a row has none.
    filling = {"default", "generated", "serial", "bigserial", "smallserial"}
    for words in statements:
        texts = frozenset(word[1:].replace("''", "'") for word in words if word.startswith("'"))
        match words:
            case ["create", "type", *rest] if "enum" in rest:
                enums[rest[rest.index("as") - 1]] = texts
            case ["create", "domain", *rest] if "default" in rest:
                filling.add(rest[rest.index("as") - 1] if "as" in rest else rest[0])
            case ["alter", "type", *rest]:
                enums |= {name: enums[name] | texts for name in rest if name in enums}
            case ["create", *rest] if "table" in rest[:2] and "(" in rest:
                opening = rest.index("(")
                name = rest[opening - 1]
                # A table that is created twice, or changed later, is left to the database.
                tables[name] = {} if name in tables else dict(_columns(rest[opening + 1 :], filling))
            case ["alter" | "drop", "table", *rest] if {"drop", "rename", "type"}.intersection(words):
                tables |= {name: {} for name in rest if name in tables}
            case ["alter", "table", *rest] if filling.intersection(rest):
                for table in (tables[name] for name in rest if name in tables):
                    table.update({name: replace(table[name], required=False) for name in rest if name in table})
    return SchemaRules(tables, enums, frozenset(word for words in statements for word in words))


def statements(text: str) -> Iterator[list[str]]:
    """The words of each statement, unquoted names in lower case; texts begin with a quote."""
    words: list[str] = []
    for token in _TOKEN.finditer(text):
        if token["word"] == ";":
            yield words
            words = []
        elif word := token["name"] or token["text"] or (token["word"] or "").lower():
            words.append(word)
    yield words


def _columns(words: Sequence[str], filling: set[str]) -> Iterator[tuple[str, ColumnRule]]:
    """The columns of a CREATE TABLE, given the words after the parenthesis that opens the list."""
    depth, column, outer = 0, list[str](), list[str]()
    for word in words:
        depth -= word == ")"
        if column and (depth < 0 or (word == "," and not depth)):
            length = _LENGTH.match(" ".join(column[1:]))
            not_null = bool({("not", "null"), ("primary", "key")}.intersection(pairwise(outer)))
            required = not_null and not filling.intersection(outer) and column[0] not in {"primary", "constraint"}
            generated = "generated" in outer and "identity" not in outer
            yield column[0], ColumnRule(not_null, required, generated, int(length[1]) if length else None)
            column, outer = [], []
        else:
            column.append(word)
            outer += [] if depth else [word]
        depth += word == "("
        if depth < 0:
            return
