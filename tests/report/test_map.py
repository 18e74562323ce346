"""The map of vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snapseed.config import find_project
from snapseed.report.embedding_map import projected
from snapseed.report.page import make_page
from tests.report.snapshots import hostile_snapshot, project_of

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
    html = make_page(project, project.environment("ci")).html
    assert "Colored by <code>transcripts.topic</code>" in html
    assert "gardening <span>" in html
    assert html.count('class="p c') == 20


def test_a_masked_column_gives_no_topics(tmp_path: Path) -> None:
    """The vectors of its table are drawn without."""
    hostile_snapshot(tmp_path, masked=("things.status", "things.note"))
    project = project_of(tmp_path)
    html = make_page(project, project.environment("dev")).html
    assert "Embedding map" in html
    assert "Colored by" not in html
