"""Which entities refer to which, by foreign keys of a database or of a schema's SQL, and where each is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from statistics import fmean

from snapseed.generate.column_rules import statements
from snapseed.postgres import query
from snapseed.postgres.catalog import find_tables, read_rows, search_schemas
from snapseed.postgres.connect import Connection
from snapseed.postgres.fit import table_name
from snapseed.snapshot.manifest import EntityRecord

# What stands before the name of a table in CREATE TABLE and ALTER TABLE, and before that of a column.
_BEFORE_NAMES = frozenset(["create", "alter", "unlogged", "table", "if", "not", "exists", "only", "add", "column"])
# Of a box and what is around it, in units of the drawing.
WIDTH, HEIGHT = 164, 44
_ACROSS, _DOWN = 64, 14
# Beyond this many entities, those with the most references are drawn.
_DRAWN, _DRAWN_OF_MORE = 60, 36
_ALONE_IN_A_ROW = 5
# Sweeps over the layers, in each of which an entity moves to the middle of those that it is linked with.
_SWEEPS = 6


@dataclass(frozen=True)
class Reference:
    """Rows of `entity` refer to rows of `to` by these columns; they are not known of a generated entity's parent."""

    entity: str
    columns: tuple[str, ...]
    to: str


def references(
    entities: Sequence[EntityRecord], schema: str, others: Iterable[Reference] = ()
) -> tuple[Reference, ...]:
    """The `others`, the foreign keys in the SQL of a schema, and the parents of entities for which there is none."""
    found = dict.fromkeys([*others, *_in_schema(entities, schema)])
    linked = {(each.entity, each.to) for each in found}
    parents = [
        Reference(entity.name, (), entity.parent)
        for entity in entities
        if entity.parent and (entity.name, entity.parent) not in linked
    ]
    return (*found, *parents)


def foreign_keys(connection: Connection, entities: Sequence[EntityRecord]) -> list[Reference]:
    """The foreign keys between the tables of these entities in a database. Takes no lock."""
    names = {table_name(entity): entity.name for entity in entities}
    found = find_tables(connection, list(names), search_schemas(connection))
    known = {str(full): names[name] for name, full in found.items()}
    rows = read_rows(connection, query("references", Path(__file__).parent), tables=list(known))
    return [Reference(known[row["referring"]], row["columns"], known[row["referred"]]) for row in rows]


@dataclass(frozen=True)
class Drawing:
    """Where the box of each entity begins, and the lines between them, each as the path of an SVG."""

    width: float
    height: float
    boxes: Mapping[str, tuple[float, float]]
    lines: tuple[str, ...]


def drawing(entities: Sequence[EntityRecord], links: Sequence[Reference]) -> Drawing:
    """Layers from left to right, with a line from each entity to those that refer to it; below, those on their own."""
    names = [entity.name for entity in entities]
    if len(names) > _DRAWN:
        degree = Counter(name for link in links for name in (link.entity, link.to))
        most = sorted(entities, key=lambda entity: (-degree[entity.name], -entity.bytes))[:_DRAWN_OF_MORE]
        names = [entity.name for entity in entities if entity in most]
    drawn = layers(names, links)
    alone = [name for name in names if name not in {name for layer in drawn for name in layer}]
    across, down = WIDTH + _ACROSS, HEIGHT + _DOWN
    tallest = max(map(len, drawn), default=0)
    in_a_row = max(len(drawn), min(_ALONE_IN_A_ROW, len(alone)), 1)
    boxes = {
        name: (x * across, ((tallest - len(layer)) / 2 + y) * down)
        for x, layer in enumerate(drawn)
        for y, name in enumerate(layer)
    }
    top = tallest * down + (_DOWN if drawn and alone else 0)
    boxes |= {name: (at % in_a_row * across, top + at // in_a_row * down) for at, name in enumerate(alone)}
    pairs = dict.fromkeys((link.to, link.entity) for link in links if link.to != link.entity)
    lines = tuple(_line(*boxes[to], *boxes[entity]) for to, entity in pairs if {to, entity} <= boxes.keys())
    height = top - (-len(alone) // in_a_row) * down - _DOWN
    return Drawing(in_a_row * across - _ACROSS, height, boxes, lines)


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    """A curve from the right side of one box to the left side of another, which begin at these places."""
    x, y, to_y = x + WIDTH, y + HEIGHT / 2, to_y + HEIGHT / 2
    bend = max(_ACROSS, abs(to_x - x)) / 2
    return f"M{x:g} {y:g}C{x + bend:g} {y:g} {to_x - bend:g} {to_y:g} {to_x:g} {to_y:g}"


def layers(names: Sequence[str], links: Sequence[Reference]) -> list[list[str]]:
    """The entities in layers: each stands after those that it refers to, near the ones that it is linked with.

    One that is linked with no other is in none. In a circle of references, the first entity counts as one without.
    """
    parents: dict[str, list[str]] = {name: [] for name in names}
    children: dict[str, list[str]] = {name: [] for name in names}
    for link in links:
        if link.entity != link.to and link.entity in parents and link.to in parents:
            parents[link.entity].append(link.to)
            children[link.to].append(link.entity)
    found = list[list[str]]()
    waiting = [name for name in names if parents[name] or children[name]]
    while waiting:
        placed = {name for layer in found for name in layer}
        found.append([name for name in waiting if placed.issuperset(parents[name])] or waiting[:1])
        waiting = [name for name in waiting if name not in found[-1]]
    for sweep in range(_SWEEPS):
        near = parents if sweep % 2 == 0 else children
        place = {name: at / max(1, len(layer) - 1) for layer in found for at, name in enumerate(layer)}
        middle = {name: fmean([place[each] for each in near[name]] or [place[name]]) for name in place}
        found = [sorted(layer, key=middle.__getitem__) for layer in found]
    return found


def _in_schema(entities: Sequence[EntityRecord], schema: str) -> Iterator[Reference]:
    """The foreign keys in the SQL of a schema. Those of a partition are those of its table."""
    known = {entity.table: entity.name for entity in entities}
    known |= {f"{entity.schema}.{entity.table}": entity.name for entity in entities if entity.schema}
    for words in statements(schema):
        rest = list(dropwhile(_BEFORE_NAMES.__contains__, words))
        if "table" not in words[1:3] or not (entity := _entity(rest, known)):
            continue
        for at, word in enumerate(rest):
            if rest[at : at + 2] == ["attach", "partition"]:
                known[_table(rest[at + 2 :])] = entity
            elif word == "references" and (to := _entity(rest[at + 1 :], known)):
                yield Reference(entity, _referring(rest[:at]), to)


def _table(words: Sequence[str]) -> str:
    """The name of the table with which these words begin."""
    return ".".join(words[:3:2]) if words[1:2] == ["."] else "".join(words[:1])


def _entity(words: Sequence[str], known: Mapping[str, str]) -> str | None:
    """The entity of that table, named with its schema or without."""
    name = _table(words)
    return known.get(name, known.get(name.rpartition(".")[2]))


def _referring(words: Sequence[str]) -> tuple[str, ...]:
    """The columns that refer, from what is before REFERENCES: FOREIGN KEY with names, or the column being defined."""
    opening = len(words) - words[::-1].index("(") if words[-1] == ")" else 0
    if words[opening - 3 : opening - 1] == ["foreign", "key"]:
        return tuple(word for word in words[opening:-1] if word != ",")
    depth = at = 0
    for at in range(len(words) - 1, -1, -1):
        depth += (words[at] == ")") - (words[at] == "(")
        if depth < 0 or (not depth and words[at] in {",", "add"}):
            break
    return tuple(list(dropwhile(_BEFORE_NAMES.__contains__, words[at + 1 :]))[:1])
