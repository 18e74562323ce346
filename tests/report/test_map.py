"""The map of vectors."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from snapseed.config import find_project
from snapseed.report.embedding_map import embedding_map, projected
from snapseed.report.graph import references
from snapseed.report.profile import profile
from snapseed.snapshot.store import open_snapshot

ROOT = Path(__file__).parents[2]


def test_the_plane_is_that_of_the_principal_components() -> None:
    """The same as by singular values, up to a mirror image; each point is where it was in the order."""
    generator = np.random.default_rng(7)
    vectors = generator.normal(size=(300, 40)) * np.linspace(9, 1, 40)
    places, share = projected(vectors)
    centered = vectors - vectors.mean(axis=0)
    _, values, axes = np.linalg.svd(centered, full_matrices=False)
    for at in range(2):
        expected = centered @ axes[at]
        assert abs(np.corrcoef(places[:, at], expected)[0, 1]) == pytest.approx(1, abs=1e-3)
    assert share == pytest.approx((values[:2] ** 2).sum() / (values**2).sum(), rel=1e-3)
    assert places.min() == 0
    assert places.max() == 1


def test_vectors_that_are_all_the_same_have_a_place() -> None:
    """Without an extent there is nothing to divide by."""
    places, share = projected(np.ones((5, 3)))
    assert places.tolist() == [[0, 0]] * 5
    assert share == 0


def test_a_point_has_the_topic_of_the_row_it_refers_to() -> None:
    """In the example: that of its transcript, looked up by the foreign key in the schema."""
    project = find_project(ROOT)
    environment = project.environment("ci")
    snapshot = open_snapshot(environment.snapshots, environment.snapshot)
    chosen = snapshot.manifest.chosen(["transcripts", "embeddings"])
    profiles = {entity.name: profile(snapshot, entity, (), lambda _: None) for entity in chosen}
    assert project.schema
    found = embedding_map(snapshot, profiles, references(chosen, project.schema.read_text()))
    assert found
    assert found.by == "transcripts.topic"
    transcripts, embeddings = (profiles[name].sample for name in ("transcripts", "embeddings"))
    topics = dict(zip(*(transcripts.column(name).to_pylist() for name in ("id", "topic")), strict=True))
    expected = Counter(topics[key] for key in embeddings.column("transcript_id").to_pylist())
    counts = {label: len(points) for label, points in found.groups}
    assert counts.items() - {("other", counts["other"])} <= expected.items()
    vectors = np.array(embeddings.column("embedding").to_pylist())
    groups = {label: set(points) for label, points in found.groups}
    for place, key in zip(projected(vectors)[0].tolist(), embeddings.column("transcript_id").to_pylist(), strict=True):
        assert tuple(place) in groups.get(topics[key], groups["other"])
