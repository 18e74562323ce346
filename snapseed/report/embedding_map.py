"""A map of vectors: some of them in two dimensions, and what each is about where a column says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snapseed.report.graph import Reference
from snapseed.report.profile import EntityProfile, plain, shown
from snapseed.snapshot.arrow import in_one_piece, pc
from snapseed.snapshot.hashing import SEED
from snapseed.snapshot.manifest import Column, EntityRecord, names_of
from snapseed.snapshot.store import Snapshot
from snapseed.snapshot.types import Family

Floats = npt.NDArray[np.float64]

_MOST_POINTS = 2_000
_FEWEST_POINTS = 3
# The names of columns that say what a row is about, the best first; and how many different values they have.
_TOPICS = ("topic", "category", "label", "subject", "class", "kind", "type")
_MOST_TOPICS = 40
_TEXTS = {Family.TEXT, Family.CHARACTER, Family.TEXT_FORM}
# Groups with a color of their own; the others share the last one.
_GROUPS = 9


@dataclass(frozen=True)
class EmbeddingMap:
    """The points of each group, between 0 and 1. `by` is the column that groups them; `share` that of the variance."""

    entity: str
    column: str
    by: str
    groups: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]
    share: float


def embedding_map(
    snapshot: Snapshot, profiles: Mapping[str, EntityProfile], links: Sequence[Reference]
) -> EmbeddingMap | None:
    """The map of the first column of vectors with enough of them; None if there is none."""
    for profile in profiles.values():
        for column in profile.entity.columns:
            is_vector = column.kind().family is Family.VECTOR and not column.kind().is_array
            rows = profile.sample.filter(profile.sample.column(column.name).is_valid())
            if not is_vector or len(rows) < _FEWEST_POINTS:
                continue
            rows = rows.take(pa.array(np.arange(0, len(rows), -(-len(rows) // _MOST_POINTS))))
            vectors = in_one_piece(rows.column(column.name)).flatten().to_numpy(zero_copy_only=False)
            by, labels = _topics(snapshot, profiles, links, profile.entity.name, rows)
            places, share = projected(vectors.astype(np.float64).reshape(len(rows), -1))
            return EmbeddingMap(profile.entity.name, column.name, by, _grouped(places, labels), share)
    return None


def projected(vectors: Floats) -> tuple[Floats, float]:
    """Vectors in the plane in which they differ most, between 0 and 1, and how much of their variance it holds.

    The first two principal components, by subspace iteration from a fixed start (Halko, Martinsson and Tropp, 2011).
    """
    centered = vectors - vectors.mean(axis=0)
    generator = np.random.Generator(np.random.PCG64(SEED))
    basis = generator.standard_normal((centered.shape[1], 8))
    for _ in range(16):
        basis, _ = np.linalg.qr(centered.T @ (centered @ basis))
    inside = centered @ basis
    variances, axes = np.linalg.eigh(inside.T @ inside)
    places = inside @ axes[:, [-1, -2 if len(variances) > 1 else -1]]
    # An axis has no direction of its own: the point that is farthest out is on its positive side.
    farthest = places[np.abs(places).argmax(axis=0), [0, 1]]
    places = places * np.where(farthest < 0, -1, 1)
    spread = np.ptp(places, axis=0)
    total = float((centered**2).sum())
    return (places - places.min(axis=0)) / np.where(spread > 0, spread, 1), float(variances[-2:].sum()) / (total or 1)


def _grouped(places: Floats, labels: list[str]) -> tuple[tuple[str, tuple[tuple[float, float], ...]], ...]:
    """The points of each label, the most frequent first; those of rare labels together."""
    found = Counter(labels).most_common()
    kept = [label for label, _ in found[: _GROUPS if len(found) > _GROUPS + 1 else None]]
    points: dict[str, list[tuple[float, float]]] = {label: [] for label in [*kept, "other"]}
    for label, (x, y) in zip(labels, places.tolist(), strict=True):
        points[label if label in kept else "other"].append((x, y))
    return tuple((label, tuple(each)) for label, each in points.items() if each)


def _topics(
    snapshot: Snapshot, profiles: Mapping[str, EntityProfile], links: Sequence[Reference], entity: str, rows: pa.Table
) -> tuple[str, list[str]]:
    """The column that says what these rows are about, their own or that of a row they refer to, and its values."""
    if topic := _topic(profiles[entity]):
        return topic.name, [shown(value, topic.kind()) for value in rows.column(topic.name)]
    for link in links:
        if link.entity != entity or len(link.columns) != 1 or link.to == link.entity:
            continue
        parent = profiles[link.to]
        if len(names_of(parent.entity.key)) == 1 and (topic := _topic(parent)):
            labels = _looked_up(snapshot, parent.entity, topic, rows.column(link.columns[0]))
            return f"{link.to}.{topic.name}", labels
    return "", [""] * len(rows)


def _topic(profile: EntityProfile) -> Column | None:
    """The column of an entity that says what a row is about: by its name, else the first with few values."""
    found = [
        each.column
        for each in profile.columns
        if not each.hidden
        and each.column.kind().family in _TEXTS
        and each.exact
        and 1 < (each.distinct or 0) <= min(_MOST_TOPICS, profile.entity.rows // 2)
    ]
    places = {each: next((at for at, name in enumerate(_TOPICS) if name in each.name), 99) for each in found}
    return min(places, key=places.__getitem__, default=None)


def _looked_up(snapshot: Snapshot, parent: EntityRecord, topic: Column, keys: pa.ChunkedArray) -> list[str]:
    """The topic of the parent that each key names. Reads two columns of the parent once more."""
    (key,), wanted = names_of(parent.key), in_one_piece(keys)
    batches = snapshot.batches(parent, [key, topic.name])
    known = pa.Table.from_batches(batch.filter(pc.is_in(plain(batch.column(0)), value_set=wanted)) for batch in batches)
    at = pc.index_in(wanted, value_set=plain(in_one_piece(known.column(0))))
    return [shown(value, topic.kind()) for value in known.column(1).take(at)]
