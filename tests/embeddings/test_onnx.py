"""A model in a file embeds texts: here one that looks up a vector per token, so that every number is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper

from snapseed.embeddings.onnx import OnnxEmbedder
from snapseed.embeddings.source import load_embedder
from snapseed.errors import ConfigurationError

WORDS = ["[UNK]", "red", "green", "blue"]
VECTORS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2]], dtype=np.float32)
NAME = "snapseed.embeddings.onnx:OnnxEmbedder"


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """[embeddings.options] for a model and a tokenizer in the test's folder."""
    write_model(tmp_path / "model.onnx")
    (tmp_path / "tokenizer.json").write_text(
        json.dumps(
            {
                "version": "1.0",
                "pre_tokenizer": {"type": "Whitespace"},
                "model": {
                    "type": "WordLevel",
                    "vocab": {word: number for number, word in enumerate(WORDS)},
                    "unk_token": "[UNK]",
                },
            }
        )
    )
    return {"name": "colours-3", "model_file": "model.onnx", "tokenizer_file": "tokenizer.json"}


def write_model(file: Path) -> None:
    """A model that gives the vector of each token, from the ids alone."""
    vectors = numpy_helper.from_array(VECTORS, "vectors")
    save(file, ["texts", "tokens", 3], [helper.make_node("Gather", ["vectors", "input_ids"], ["hidden"])], [vectors])


def save(file: Path, shape: list[int | str], nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> None:
    """A model with one input and one output."""
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"])
    hidden = helper.make_tensor_value_info("hidden", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "colours", [ids], [hidden], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(file))


def embed(folder: Path, options: dict[str, Any], *texts: str, **more: object) -> list[list[float]]:
    """Vectors as rows, rounded."""
    embedder = load_embedder(NAME, options | more, folder, "here")
    rows: list[list[float]] = embedder.embed(pl.Series(texts, dtype=pl.String)).to_numpy().round(4).tolist()
    return rows


def test_a_vector_is_the_mean_over_the_tokens_at_unit_length(tmp_path: Path, options: dict[str, Any]) -> None:
    """However long the other texts of the batch are. A text without tokens has the zero vector."""
    found = embed(tmp_path, options, "red", "red green", "red red red red red green blue", "", "blue")
    length = float(np.linalg.norm([5, 1, 2]))
    expected = np.array([[1, 0, 0], [0.7071, 0.7071, 0], [5 / length, 1 / length, 2 / length], [0, 0, 0], [0, 0, 1]])
    assert np.allclose(found, expected, atol=1e-4)


def test_a_text_has_the_same_vector_in_any_batch(tmp_path: Path, options: dict[str, Any]) -> None:
    """The vectors come in the order of the texts."""
    texts = [" ".join(WORDS[1 + (number + place) % 3] for place in range(number % 7)) for number in range(100)]
    alone = np.array([embed(tmp_path, options, text)[0] for text in texts])
    assert np.allclose(embed(tmp_path, options, *texts), alone)
    assert embed(tmp_path, options) == []


def test_a_model_may_be_pooled_by_its_first_token(tmp_path: Path, options: dict[str, Any]) -> None:
    """Some are trained for that."""
    assert embed(tmp_path, options, "green red red", pooling="first") == [[0, 1, 0]]


def test_a_long_text_is_cut(tmp_path: Path, options: dict[str, Any]) -> None:
    """After so many tokens."""
    assert embed(tmp_path, options, "red red green green green", max_tokens=2) == [[1, 0, 0]]


def test_it_says_what_is_stored(tmp_path: Path, options: dict[str, Any]) -> None:
    """The model's name from the settings, its dimensions from the file; the type from the protocol."""
    embedder = OnnxEmbedder(**options, folder=tmp_path)
    assert (embedder.model, embedder.dimensions) == ("colours-3", 3)
    assert embedder.embed(pl.Series(["red"])).dtype == pl.Array(pl.Float32, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_file": "other.onnx"}, "other.onnx"),
        ({"tokenizer_file": "model.onnx"}, "the embedder cannot be made"),
        ({"pooling": "median"}, "'median'"),
        ({"speed": 3}, "speed"),
    ],
    ids=["no such file", "no tokenizer", "no such pooling", "no such option"],
)
def test_settings_that_make_no_embedder_are_errors(
    tmp_path: Path, options: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    """The error says which."""
    with pytest.raises(ConfigurationError) as caught:
        load_embedder(NAME, options | change, tmp_path, "snapseed.toml [embeddings] embedder")
    assert said in str(caught.value)


def test_a_model_must_say_how_long_its_vectors_are(tmp_path: Path, options: dict[str, Any]) -> None:
    """Since the table must fit them."""
    nodes = [
        helper.make_node("Shape", ["input_ids"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["hidden"]),
    ]
    save(tmp_path / "model.onnx", ["texts", "tokens"], nodes, [])
    with pytest.raises(ConfigurationError, match="does not say how many"):
        load_embedder(NAME, options, tmp_path, "here")
