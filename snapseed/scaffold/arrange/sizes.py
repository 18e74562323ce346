"""How many rows entities have: root entities for the scale, and children for each row of their parent."""

from __future__ import annotations

import math
from collections.abc import Sequence

from snapseed.scaffold.arrange import Arrangement
from snapseed.scaffold.draws import literal
from snapseed.scaffold.schema import ForeignKey
from snapseed.scaffold.statistics import ColumnStatistics

# The most rows for each row of a parent, if it is not known.
MOST_PER_PARENT = 20
# A distribution has so many pieces, and what is known on average counts as so many values.
_PIECES, STEPS = 20, 5
# Up to the first number, every parent has that many rows; from the second on, two on average.
_ALWAYS, _SPREAD = 2, 5
# The share of the scale that root entities of each level have, and the smallest one.
_FRACTIONS = {0: 1, 1: 0.2, 2: 0.05}
_SMALLEST = 1e-6
# Tables of so few rows, and so many times fewer than the largest one, do not grow.
_FEW = 20


def largest_root(arrangement: Arrangement) -> int:
    """The rows of the root entity that the scale counts: the largest one that has children, if any; 0 if unknown."""
    parents = {place.parent.target for place in arrangement.places.values() if place.parent is not None}
    rows = {oid: arrangement.tables[oid].rows or 0 for oid in arrangement.places if _is_root(arrangement, oid)}
    return max((rows[oid] for oid in rows.keys() & parents), default=0) or max(rows.values(), default=0)


def rows_of(arrangement: Arrangement, oid: int, largest: int) -> str | None:
    """How many rows a table has that is not a child: a number, or a share of the scale, which counts the largest one's.

    A table whose rows are unknown has no more than those that it may refer to once each.
    """
    place, tables = arrangement.places[oid], arrangement.tables
    if place.parent is not None or place.rows is not None:
        return None if place.rows is None else str(place.rows)

    def share(other: int) -> float:
        usual = _FRACTIONS[arrangement.places[other].level]
        return (tables[other].rows or 0) / largest or usual if largest else usual

    once = [
        key.target
        for key in arrangement.foreign_keys(oid)
        if tables[oid].rows is None and tables[oid].are_unique(key.columns) and _is_root(arrangement, key.target)
    ]
    if _is_fixed(arrangement, oid, largest):
        return str(tables[oid].rows)
    least = min(map(share, [oid, *once]))
    return None if least == 1 else f"scale({max(least, _SMALLEST):.3g})"


def _is_fixed(arrangement: Arrangement, oid: int, largest: int, above: frozenset[int] = frozenset()) -> bool:
    """Whether a root entity has the same rows at every scale: few, without children, not one for each of others.

    Were it to grow, most rows of others would exist before most of its rows do, and could not refer to them.
    """
    table = arrangement.tables[oid]
    return (
        0 < (table.rows or 0) <= min(_FEW, largest // _FEW)
        and all(key.target != oid for key in arrangement.parents.values())
        and all(
            key.target in above or _is_fixed(arrangement, key.target, largest, above | {oid})
            for key in arrangement.foreign_keys(oid)
            if table.are_unique(key.columns) and key.target not in arrangement.lookups
        )
    )


def _is_root(arrangement: Arrangement, oid: int) -> bool:
    place = arrangement.places[oid]
    return place.parent is None and not place.is_lookup


def fan_out_of(counts: Sequence[int], among: str | None) -> str:
    """How many rows each row of the parent has, by quantiles or up to a number; and up to the rows of `among`."""
    most = counts[-1]
    if counts[0] < most:
        return f"spread([{', '.join(map(literal, counts))}]" + (")" if among is None else f", among={among})")
    if most <= _ALWAYS or len(counts) > 1:
        return str(most) if among is None else f"exactly({most}, among={among})"
    mean = 1 if most < _SPREAD else 2 if most < MOST_PER_PARENT else 3
    return f"fan_out(mean={mean}, maximum={most}" + (")" if among is None else f", among={among})")


def children_per_parent(arrangement: Arrangement, oid: int) -> tuple[int, ...]:
    """Quantiles of the number of rows that each row of the parent has; empty if they are not known.

    Statistics count the rows of the parents that have the most; those of all others are known on average.
    """
    table, key = arrangement.tables[oid], arrangement.parents.get(oid)
    found = table.statistics.get(key.columns[0]) if key is not None and len(key.columns) == 1 else None
    parent = arrangement.tables[key.target] if key is not None else table
    if found is None or not table.rows or not parent.rows or not found.distinct:
        return ()
    filled = table.rows * (1 - found.null_share)
    most = [max(1, round(share * table.rows)) for share in found.shares]
    others = max(0, min(found.distinct, parent.rows) - len(most))
    childless = max(0, parent.rows - len(most) - others)
    points = [(0, float(childless))] * (childless > 0) + [(count, 1.0) for count in most]
    if others:
        mean = max(1.0, (filled - sum(most)) / others)
        top = max(mean, min(min(most, default=round(2 * mean)), 2 * mean - 1))
        # From so few to the top, as the mean asks for.
        low = 2 * mean - top
        points += [(round(low + (top - low) * (2 * step + 1) / (2 * STEPS)), others / STEPS) for step in range(STEPS)]
    ends = divided(sorted(points))
    if len(ends) <= _PIECES:
        return tuple(ends)
    # The last piece is long where few parents have very many: its end is where the mean is right.
    last = round(2 * _PIECES * filled / parent.rows) - ends[0] - 2 * sum(ends[1:-1])
    return (*ends[:-1], min(max(last, ends[-2], 1), max(ends[-1], ends[-2], 1)))


def latest_of(arrangement: Arrangement, oid: int, key: ForeignKey) -> str:
    """The argument by which references to a root entity that grows have the spread of the source; empty without any."""
    table, target = arrangement.tables[oid], arrangement.tables[key.target]
    found = table.statistics.get(key.columns[0])
    if found is None or not found.distinct or not table.rows or not target.rows or arrangement.places[oid].is_lookup:
        return ""
    # How much the numbers of references differ: their variance by the square of their mean. The root of what is not by
    # chance is close to the share of the latest rows whose references differ as much. Far less than by chance is none.
    spread, by_chance = target.rows * found.squares - 1, target.rows / (table.rows * (1 - found.null_share))
    share = 0.0 if spread < by_chance / 4 else round(max(0.1, math.sqrt(max(0, spread - by_chance))), 1)
    is_fixed = share < 1 and _is_fixed(arrangement, key.target, largest_root(arrangement))
    return f", latest={share:g}" * (share < 1 and not is_fixed)


def elements_of(found: ColumnStatistics) -> tuple[int, ...]:
    """Quantiles of the number of elements of arrays; empty if they are not known. The last of `sizes` is the mean."""
    return tuple(divided([(round(size), 1.0) for size in found.sizes[:-1]])) if len(found.sizes) > 1 else ()


def divided(points: Sequence[tuple[int, float]]) -> list[int]:
    """The values at which pieces of equal weight end, from the first to the last; two if they are all the same."""
    total, passed, ends = sum(weight for _, weight in points), 0.0, [points[0][0]]
    for value, weight in points:
        passed += weight
        while len(ends) < _PIECES and passed >= len(ends) * total / _PIECES:
            ends.append(value)
    ends += [points[-1][0]] * (_PIECES + 1 - len(ends))
    return ends if ends[0] < ends[-1] else ends[:2]
