"""The public API is what `__all__` says, and importing it costs next to nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import snapseed

HEAVY = ("polars", "pyarrow", "numpy", "psycopg", "rich")


def test_the_public_names_are_these() -> None:
    """A name enters or leaves the API on purpose, and then in this list too."""
    assert snapseed.__all__ == [
        "Embedder",
        "Entity",
        "Environment",
        "FanOut",
        "HashingEmbedder",
        "Items",
        "Project",
        "Rhythm",
        "Rows",
        "SnapseedDatabase",
        "SnapseedError",
        "as_decimals",
        "check_snapshot",
        "chunk_count",
        "chunk_keys",
        "chunk_of",
        "counted",
        "entity",
        "exactly",
        "fan_out",
        "filled",
        "find_project",
        "generate_snapshot",
        "json_array",
        "json_object",
        "json_raw",
        "load_snapshot",
        "open_snapshot",
        "reset_environment",
        "resolve_request",
        "scale",
        "slug",
        "verify_snapshot",
    ]


@pytest.mark.parametrize("name", snapseed.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    """Each resolves to an object with a docstring, wherever it lives."""
    assert getattr(snapseed, name).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    """Names that are imported on first use fail like any other."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = snapseed.nothing


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Neither `import snapseed` nor the command line's modules load the libraries that commands need."""
    code = f"import sys, snapseed, snapseed.cli; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
