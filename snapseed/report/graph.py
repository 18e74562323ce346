"""Which entities refer to which, by foreign keys of a database or of a schema's SQL, and where each is drawn."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, dropwhile, pairwise
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
_ACROSS, _DOWN, _BEND = 64, 14, 32
# The height of a place that lines pass through, the width of a lane, and the distance of its lines from a middle.
_PASSING, _LANE, _APART = 20, 8, 6
# Of more entities, those with the most references are drawn.
_DRAWN = 48
# With fewer references than that, tables on their own stand side by side.
_FEWEST_LAYERS = 5
# Sweeps over the layers, in each of which an entity moves to the middle of those that it is linked with.
_SWEEPS = 6

# An entity and a layer: its own, or one that lines from it cross.
Place = tuple[str, int]


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
    parents = [Reference(entity.name, (), entity.parent) for entity in entities if entity.parent]
    return (*found, *(each for each in parents if (each.entity, each.to) not in linked))


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


def drawings(entities: Sequence[EntityRecord], links: Sequence[Reference]) -> tuple[Drawing, Drawing]:
    """A wide drawing, and a narrow one for small screens, both with a line from each entity to those that refer to it.

    The wide one has layers from left to right. Entities on their own fill the shortest.
    """
    degree = Counter(name for link in links for name in (link.entity, link.to))
    most = sorted(entities, key=lambda entity: (-degree[entity.name], -entity.bytes))[:_DRAWN]
    names = [entity.name for entity in entities if entity in most]
    pairs = [(link.to, link.entity) for link in links if link.to != link.entity and {link.to, link.entity} <= {*names}]
    layers, ways = arranged(list(dict.fromkeys(pairs)))
    alone = [name for name in names if name not in {*chain.from_iterable(pairs)}]
    layers += [[] for _ in range(len(layers), min(_FEWEST_LAYERS, len(alone)))]
    for name in alone:
        min(layers, key=len).append((name, 0))
    passing = {place for way in ways for place in way[1:-1]}
    heights = {place: _PASSING if place in passing else HEIGHT + _DOWN for layer in layers for place in layer}
    tallest = max((sum(heights[place] for place in layer) for layer in layers), default=0)
    places: dict[Place, tuple[float, float]] = {}
    for x, layer in enumerate(layers):
        y = (tallest - sum(heights[place] for place in layer) - _DOWN) / 2
        for place in layer:
            places[place] = (x * (WIDTH + _ACROSS), y + heights[place] / 2)
            y += heights[place]
    boxes = {name: (x, y - HEIGHT / 2) for (name, _), (x, y) in places.items() if (name, _) not in passing}
    lines = tuple(_line([places[place] for place in way]) for way in ways)
    wide = Drawing(len(layers) * (WIDTH + _ACROSS) - _ACROSS, tallest - _DOWN, boxes, lines)
    return wide, _listed([*boxes], [(way[0][0], way[-1][0]) for way in ways])


def _listed(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Drawing:
    """The boxes one below the other, each under those that it refers to. Arrows from one entity share a lane."""
    paths = dict[str, tuple[int, ...]]()
    for at, name in enumerate(names):
        paths[name] = (*max((paths[to] for to, entity in pairs if entity == name), default=()), at)
    middle = {name: at * (HEIGHT + _DOWN) + HEIGHT / 2 for at, name in enumerate(sorted(names, key=paths.__getitem__))}
    ends, lines = list[float](), list[str]()
    for name, y in middle.items():
        if targets := [middle[entity] for to, entity in pairs if to == name]:
            # The nearest lane whose last arrow ends above this box.
            lane = next((at for at, end in enumerate(ends) if end < y), len(ends))
            ends[lane : lane + 1] = [max(targets)]
            way = f"M{WIDTH} {y + _APART:g}H{WIDTH + (lane + 2) * _LANE}V"
            lines += [f"{way}{target - _APART:g}H{WIDTH}m6-4l-6 4l6 4" for target in targets]
    boxes = {name: (0, y - HEIGHT / 2) for name, y in middle.items()}
    return Drawing(WIDTH + (len(ends) + 1) * _LANE, len(names) * (HEIGHT + _DOWN) - _DOWN, boxes, tuple(lines))


def _line(way: Sequence[tuple[float, float]]) -> str:
    """A line through the middles of these places: straight in each, where a box would cover it."""
    bends = [f"c{_BEND} 0 {_BEND} {to - y:g} {_ACROSS} {to - y:g}h{WIDTH}" for (_, y), (_, to) in pairwise(way)]
    return f"M{way[0][0]:g} {way[0][1]:g}h{WIDTH}{''.join(bends)}"


def arranged(pairs: Sequence[tuple[str, str]]) -> tuple[list[list[Place]], list[list[Place]]]:
    """Layers of places, and the way of each line through them. Of each pair, the second entity refers to the first.

    An entity stands after those that it refers to, near the ones that it is linked with. A line that is longer than a
    layer has a place in those that it crosses, with the others from its entity. Circles are broken where most refer to.
    """
    layers, waiting = list[list[str]](), list(dict.fromkeys(chain.from_iterable(pairs)))
    while waiting:
        lacking = Counter(entity for to, entity in pairs if to in waiting)
        wanted = Counter(to for to, entity in pairs if entity in waiting)
        first = min(waiting, key=lambda name: (lacking[name], -wanted[name]))
        layers.append([name for name in waiting if not lacking[name]] or [first])
        waiting = [name for name in waiting if name not in layers[-1]]
    depth = {name: at for at, layer in enumerate(layers) for name in layer}
    ways = list[list[Place]]()
    for first, last in (sorted(pair, key=depth.__getitem__) for pair in pairs):
        ways.append([*((first, at) for at in range(depth[first], depth[last])), (last, depth[last])])
    beside = defaultdict[Place, list[Place]](list), defaultdict[Place, list[Place]](list)
    for before, after in chain.from_iterable(map(pairwise, ways)):
        beside[0][after].append(before)
        beside[1][before].append(after)
    known = dict.fromkeys(chain.from_iterable(ways))
    found = [[place for place in known if place[1] == at] for at in range(len(layers))]
    for sweep in range(_SWEEPS):
        at = {place: number / max(1, len(layer) - 1) for layer in found for number, place in enumerate(layer)}
        middle = {place: fmean([at[each] for each in beside[sweep % 2][place]] or [at[place]]) for place in at}
        found = [sorted(layer, key=middle.__getitem__) for layer in found]
    return found, ways


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
