"""Which entities refer to which, by the foreign keys in the schema's SQL, and where each stands in a drawing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from snapseed.snapshot.manifest import EntityRecord

_NAME = r'(?:"(?:[^"]|"")+"|\w+)'
_TABLE = rf"{_NAME}(?:\.{_NAME})?"
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_STATEMENT = re.compile(
    rf"\s*(?:CREATE\s+(?:UNLOGGED\s+)?TABLE|ALTER\s+TABLE)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(?:ONLY\s+)?({_TABLE})",
    re.IGNORECASE,
)
_FOREIGN_KEY = re.compile(rf"\bFOREIGN\s+KEY\s*\(([^()]*)\)\s*REFERENCES\s+({_TABLE})", re.IGNORECASE)
_PARTITION = re.compile(r"ALTER TABLE ONLY (\S+) ATTACH PARTITION (\S+)")
# A column that refers stands on a line of its own, or after a comma.
_COLUMN = re.compile(
    rf"(?:^|[(,])\s*(?:ADD\s+(?:COLUMN\s+)?)?({_NAME})\s[^\n,]*?\bREFERENCES\s+({_TABLE})", re.IGNORECASE | re.MULTILINE
)
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


def references(entities: Sequence[EntityRecord], schema: str) -> tuple[Reference, ...]:
    """The foreign keys between these entities in the SQL of a schema, and their parents where it has none for them."""
    found = {(each.entity, each.columns, each.to): each for each in _foreign_keys(entities, schema)}
    linked = {(entity, to) for entity, _, to in found}
    parents = [
        Reference(entity.name, (), entity.parent)
        for entity in entities
        if entity.parent and (entity.name, entity.parent) not in linked
    ]
    return (*found.values(), *parents)


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
    lines = [_line(*boxes[link.to], *boxes[link.entity]) for link in links if {link.to, link.entity} <= boxes.keys()]
    height = top - (-len(alone) // in_a_row) * down - _DOWN
    return Drawing(in_a_row * across - _ACROSS, height, boxes, tuple(dict.fromkeys(lines)))


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    x, y, to_y = x + WIDTH, y + HEIGHT / 2, to_y + HEIGHT / 2
    bend = max(_ACROSS, abs(to_x - x)) / 2
    return f"M{x:g} {y:g}C{x + bend:g} {y:g} {to_x - bend:g} {to_y:g} {to_x:g} {to_y:g}"


def layers(names: Sequence[str], links: Sequence[Reference]) -> list[list[str]]:
    """The entities in layers: each stands after those that it refers to, near the ones that it is linked with.

    One that is linked with no other is in none. References in a circle count as far as they were met first.
    """
    parents: dict[str, list[str]] = {name: [] for name in names}
    children: dict[str, list[str]] = {name: [] for name in names}
    for link in links:
        if link.entity != link.to and link.entity in parents and link.to in parents:
            parents[link.entity].append(link.to)
            children[link.to].append(link.entity)
    depth: dict[str, int] = {}
    for name in names:
        _descend(name, parents, depth)
    found: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in names:
        if parents[name] or children[name]:
            found[depth[name]].append(name)
    for sweep in range(_SWEEPS):
        near = parents if sweep % 2 == 0 else children
        place = {name: at / max(1, len(layer) - 1) for layer in found for at, name in enumerate(layer)}
        middle = {name: fmean([place[each] for each in near[name]] or [place[name]]) for name in place}
        found = [sorted(layer, key=middle.__getitem__) for layer in found]
    return [layer for layer in found if layer]


def _descend(start: str, parents: Mapping[str, list[str]], depth: dict[str, int]) -> None:
    """Give `start` and all that it leads to a depth. No recursion: a chain may be as long as the manifest."""
    path, waiting = [start], {start: iter(parents[start])}
    while path:
        name = path[-1]
        following = next(waiting[name], None)
        if following is None:
            known = [depth[each] for each in parents[name] if each in depth]
            depth[name] = max(known, default=-1) + 1
            path.pop()
        elif following not in depth and following not in waiting:
            path.append(following)
            waiting[following] = iter(parents[following])


def _foreign_keys(entities: Sequence[EntityRecord], schema: str) -> Iterator[Reference]:
    known = {entity.table: entity.name for entity in entities}
    known |= {f"{entity.schema}.{entity.table}": entity.name for entity in entities if entity.schema}
    # A partition's rows are those of its table.
    known |= {partition: known[table] for table, partition in _PARTITION.findall(schema) if table in known}
    for statement in _COMMENT.sub("", schema).split(";"):
        head = _STATEMENT.match(statement)
        if head is None or (entity := _known(head[1], known)) is None:
            continue
        body = statement[head.end() :]
        for columns, table in (*_FOREIGN_KEY.findall(body), *_COLUMN.findall(_FOREIGN_KEY.sub("", body))):
            if to := _known(table, known):
                yield Reference(entity, tuple(_unquoted(name) for name in columns.split(",")), to)


def _known(table: str, known: Mapping[str, str]) -> str | None:
    """The entity of a table as SQL names it, with its schema or without."""
    parts = [_unquoted(part) for part in re.findall(_NAME, table)]
    return known.get(".".join(parts), known.get(parts[-1]))


def _unquoted(name: str) -> str:
    name = name.strip()
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
