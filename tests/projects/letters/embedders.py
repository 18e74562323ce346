"""Embedders next to a project's snapseed.toml, good and bad ones."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import polars as pl

from snapseed import HashingEmbedder


class Vowels:
    """How often each vowel occurs in a text."""

    model = "vowels"
    dimensions = 5

    def embed(self, texts: pl.Series) -> pl.Series:
        """Five numbers for each text."""
        counts = [[float(text.count(vowel)) for vowel in "aeiou"] for text in texts]
        return pl.Series(counts, dtype=pl.Array(pl.Float16, 5))


class Down(Vowels):
    """A model that is away, until a file called `up` exists."""

    def embed(self, texts: pl.Series) -> pl.Series:
        """Vectors, or an error."""
        if not os.path.exists("up"):  # noqa: PTH110 - as short as it gets
            raise ConnectionError("no model today")
        return super().embed(texts)


class Picky(Vowels):
    """One that fails for some texts."""

    def embed(self, texts: pl.Series) -> pl.Series:
        """Vectors, unless a text has the word poison."""
        if texts.str.contains("poison").any():
            raise ValueError("that is poison")
        return super().embed(texts)


class Deadly(Vowels):
    """One that kills the process for some texts."""

    def embed(self, texts: pl.Series) -> pl.Series:
        """Vectors, unless a text has the word deadly."""
        if texts.str.contains("deadly").any():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed(texts)


class TooFew(Vowels):
    """One that returns too few vectors."""

    def embed(self, texts: pl.Series) -> pl.Series:
        """One less than there are texts."""
        return super().embed(texts).head(len(texts) - 1)


class TooShort(Vowels):
    """One whose vectors are shorter than it says."""

    dimensions = 6


class Held(HashingEmbedder):
    """One that creates the file `begun` when it starts, and works once there is a file `go`."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._begun, self._go = folder / "begun", folder / "go"

    def embed(self, texts: pl.Series) -> pl.Series:
        """Vectors, when it may, or after half a minute, so that no process stays after a test that failed."""
        self._begun.touch()
        for _ in range(3_000):
            if self._go.exists():
                break
            time.sleep(0.01)
        return super().embed(texts)


class Slow(HashingEmbedder):
    """One that takes its time."""

    seconds = 1.5

    def embed(self, texts: pl.Series) -> pl.Series:
        """A vector, after a while."""
        time.sleep(self.seconds)
        return super().embed(texts)


class Slowest(Slow):
    """One that takes longer than a worker may be silent."""

    seconds = 3.5


class Tired(Picky):
    """One that takes a while for each batch."""

    def embed(self, texts: pl.Series) -> pl.Series:
        """A vector, after a while."""
        time.sleep(0.1)
        return super().embed(texts)
