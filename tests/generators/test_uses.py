"""Typical uses of such texts work: search by meaning, and finding duplicates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from snapseed import HashingEmbedder
from tests.generators.conftest import Frames


@pytest.fixture(scope="session")
def cosines(example: Frames) -> npt.NDArray[np.float32]:
    """The cosine of each pair of transcripts."""
    vectors = HashingEmbedder().embed(example["transcripts"]["body"]).to_numpy().astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found: npt.NDArray[np.float32] = vectors @ vectors.T
    np.fill_diagonal(found, 0)
    return found


def test_the_nearest_transcript_is_mostly_on_the_same_topic(example: Frames, cosines: npt.NDArray[np.float32]) -> None:
    """For nine in ten of the English ones; for more with more transcripts (docs/content.md)."""
    english = (example["transcripts"]["language"] == "en").to_numpy()
    topics = example["transcripts"]["topic"].to_numpy()[english]
    nearest = cosines[english][:, english].argmax(axis=1)
    assert 0.9 < (topics[nearest] == topics).mean() < 0.99


def test_duplicates_are_found(example: Frames, cosines: npt.NDArray[np.float32]) -> None:
    """Nine in ten pairs of one video have a cosine above 0.93, and nine in ten pairs above it are of one video."""
    first = pl.col("metadata").str.json_path_match("$.duplicate_of").str.replace_all("-", "")
    videos = example["shares"].select(share_id="id", video=pl.coalesce(first, pl.col("id").bin.encode("hex")))
    video = example["transcripts"].join(videos, on="share_id", maintain_order="left")["video"].to_numpy()
    same = (video[:, None] == video[None, :]) & ~np.eye(len(video), dtype=bool)
    near = cosines > 0.93
    assert same.sum() > 20
    assert (near & same).sum() / same.sum() > 0.9
    assert (near & same).sum() / near.sum() > 0.9
