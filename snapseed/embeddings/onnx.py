"""Embeddings by a model in a file: ONNX, with a tokenizer in Hugging Face's `tokenizer.json`. Nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from snapseed.errors import ConfigurationError, extra

Float32s = npt.NDArray[np.float32]

# Texts that the model takes at a time; it bounds the memory of its largest layer.
_BATCH_TEXTS = 32
# Shorter vectors count as zero and are not scaled up.
_SHORTEST = 1e-12
# What models ask for, and what the tokenizer calls it.
_INPUTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


class OnnxSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of [embeddings.options] for `OnnxEmbedder`.

    `name` is stored as the model's name. If the model returns one vector per token, `pooling` takes the mean over a
    text's tokens, or the first one. Texts are cut after `max_tokens`. With `threads` of 0 it uses all cores.
    """

    name: str
    model_file: str
    tokenizer_file: str
    pooling: Literal["mean", "first"] = "mean"
    max_tokens: int = 512
    threads: int = 0


class OnnxEmbedder:
    """For `embedder = "snapseed.embeddings.onnx:OnnxEmbedder"`. `options` are those of `OnnxSettings`.

    Relative paths start at `folder`, the project's. Raises `ConfigurationError` if a file or a library is missing, and
    `msgspec.ValidationError` for a wrong option.
    """

    def __init__(self, *, folder: Path | None = None, **options: object) -> None:
        settings = msgspec.convert(options, OnnxSettings)
        with extra("models", "the libraries that run a model are"):
            import onnxruntime  # noqa: PLC0415 - an extra
            import tokenizers  # noqa: PLC0415 - the same extra
        model, tokenizer = ((folder or Path()) / file for file in (settings.model_file, settings.tokenizer_file))
        for path in (model, tokenizer):
            if not path.is_file():
                raise ConfigurationError("a file of the embedder is missing", where=str(path), expected="a file")
        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = settings.threads
        self._session = onnxruntime.InferenceSession(str(model), session_options, providers=["CPUExecutionProvider"])
        self._inputs = {given.name for given in self._session.get_inputs()}
        dimensions = self._session.get_outputs()[0].shape[-1]
        if not isinstance(dimensions, int):
            raise TypeError(f"the first output of {model} does not say how many numbers a vector has: {dimensions!r}")
        self.model = settings.name
        self.dimensions = dimensions
        self._pooling = settings.pooling
        self._tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(settings.max_tokens)
        self._tokenizer.no_padding()

    def embed(self, texts: pl.Series) -> pl.Series:
        """One vector of unit length per text, as float32; the zero vector for a text without tokens."""
        encoded = self._tokenizer.encode_batch(texts.to_list())
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        # Texts of similar length together: each text of a batch takes as long as the longest.
        order = np.argsort([len(one.ids) for one in encoded], kind="stable")
        for start in range(0, len(order), _BATCH_TEXTS):
            rows = order[start : start + _BATCH_TEXTS]
            vectors[rows] = self._vectors([encoded[row] for row in rows])
        return pl.Series(vectors, dtype=pl.Array(pl.Float32, self.dimensions))

    def _vectors(self, encoded: list[Any]) -> Float32s:
        """The vectors of tokenized texts, each of length 1."""
        longest = max(1, *(len(one.ids) for one in encoded))
        for one in encoded:
            one.pad(longest)
        given = {
            name: np.array([getattr(one, attribute) for one in encoded], np.int64)
            for name, attribute in _INPUTS.items()
        }
        inputs = {name: given[name] for name in self._inputs}
        found: Float32s = self._session.run(None, inputs)[0]
        if found.ndim > 2 and self._pooling == "first":  # noqa: PLR2004 - texts, tokens, numbers
            found = found[:, 0]
        elif found.ndim > 2:  # noqa: PLR2004 - as above
            weights = given["attention_mask"][:, :, None].astype(np.float32)
            found = (found * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.maximum(lengths, _SHORTEST), dtype=np.float32)
