"""Embeddings by a model in a file: ONNX, with a tokenizer in the form of Hugging Face's `tokenizer.json`.

Nothing is downloaded: both files lie in the project or elsewhere on this machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from snapseed.errors import ConfigurationError

# Texts that the model takes at a time, and so at most so many numbers of the largest layer.
_BATCH = 32
_SHORTEST = 1e-12


class OnnxEmbedder:
    """For `embedder = "snapseed.embeddings.onnx:OnnxEmbedder"`; its arguments stand in [embeddings.options].

    `name` is what is stored as the model's name. A model that gives a vector for each token is pooled, by the mean over
    a text's tokens or by its first one. Longer texts are cut after `max_tokens`. `threads` of 0 are as many as there
    are cores. Relative paths start at `folder`, the project's. Raises `ConfigurationError` where a file or the
    libraries are missing.
    """

    def __init__(
        self,
        *,
        name: str,
        model_file: str,
        tokenizer_file: str,
        folder: Path | None = None,
        pooling: Literal["mean", "first"] = "mean",
        max_tokens: int = 512,
        threads: int = 0,
    ) -> None:
        onnxruntime, tokenizers = _libraries()
        if pooling not in {"mean", "first"}:
            raise ValueError(f"pooling is 'mean' or 'first', not {pooling!r}")
        model, tokenizer = (_existing((folder or Path()) / given) for given in (model_file, tokenizer_file))
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        self.model = name
        self._session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        self._inputs = {given.name for given in self._session.get_inputs()}
        dimensions = self._session.get_outputs()[0].shape[-1]
        if not isinstance(dimensions, int):
            raise TypeError(f"the first output of {model} does not say how many numbers a vector has: {dimensions!r}")
        self.dimensions = dimensions
        self._pooling = pooling
        self._tokenizer = tokenizers.Tokenizer.from_file(tokenizer)
        self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.no_padding()

    def embed(self, texts: pl.Series) -> pl.Series:
        """One vector of unit length per text, as float32."""
        encoded = self._tokenizer.encode_batch(texts.to_list())
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        # Texts of about one length side by side: all of a batch take as long as its longest.
        order = np.argsort([len(one.ids) for one in encoded], kind="stable")
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            vectors[rows] = self._vectors([encoded[row] for row in rows])
        return pl.Series(vectors, dtype=pl.Array(pl.Float32, self.dimensions))

    def _vectors(self, encoded: list[Any]) -> npt.NDArray[np.float32]:
        longest = max(1, *(len(one.ids) for one in encoded)) if encoded else 1
        given = {name: np.zeros((len(encoded), longest), np.int64) for name in _INPUTS}
        for row, one in enumerate(encoded):
            for name, of_text in _INPUTS.items():
                values = getattr(one, of_text)
                given[name][row, : len(values)] = values
        inputs = {name: given[name] for name in self._inputs}
        found: npt.NDArray[np.float32] = self._session.run(None, inputs)[0]
        if found.ndim > 2:  # noqa: PLR2004 - texts, tokens, numbers
            found = self._pooled(found, given["attention_mask"])
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.maximum(lengths, _SHORTEST), dtype=np.float32)

    def _pooled(self, found: npt.NDArray[np.float32], mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        if self._pooling == "first":
            return found[:, 0]
        weights = mask[:, :, None].astype(np.float32)
        return np.asarray((found * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1), dtype=np.float32)


# What models ask for, and what the tokenizer calls it.
_INPUTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


def _existing(path: Path) -> str:
    if not path.is_file():
        raise ConfigurationError("a file of the embedder is missing", where=str(path), expected="a file")
    return str(path)


def _libraries() -> tuple[Any, Any]:
    try:
        import onnxruntime  # noqa: PLC0415 - an extra
        import tokenizers  # noqa: PLC0415 - the same extra
    except ImportError as exc:
        raise ConfigurationError(
            "the libraries that run a model are not installed",
            expected="the packages onnxruntime and tokenizers",
            next_step="pip install 'snapseed[models]'",
        ) from exc
    return onnxruntime, tokenizers
