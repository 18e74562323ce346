"""The public API: every name of `__init__.pyi`; importing it costs next to nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import snapseed
from snapseed.capture.request import CaptureRequest
from snapseed.diff.compare import DiffRequest

HEAVY = ("polars", "pyarrow", "numpy", "psycopg", "rich")


def test_an_editor_sees_every_public_name_before_it_is_imported() -> None:
    """`dir(snapseed)` lists them, in a process that has used none."""
    code = "import snapseed; assert set(snapseed.__all__) <= set(dir(snapseed)); print(len(snapseed.__all__))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(result.stdout) == len(snapseed.__all__) > 0


@pytest.mark.parametrize("name", snapseed.__all__)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    """Each resolves to an object with a docstring."""
    assert getattr(snapseed, name).__doc__


def test_a_single_name_is_taken_where_several_are_expected() -> None:
    """A text is one name, not a sequence of letters."""
    assert snapseed.LoadRequest(only="customers").only == ("customers",)
    assert DiffRequest(only="customers", columns="email", keys="7").keys == ("7",)
    assert CaptureRequest(exclude="customers").exclude == ("customers",)  # type: ignore[arg-type]


def test_an_unknown_name_is_an_attribute_error() -> None:
    """Names that are imported on first use fail like any other."""
    with pytest.raises(AttributeError, match="nothing"):
        _ = snapseed.nothing  # type: ignore[attr-defined]


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Neither `import snapseed` nor the modules of the command line load the libraries that commands need."""
    code = f"import sys, snapseed, snapseed.cli; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_commands_for_databases_do_not_wait_for_libraries_of_others() -> None:
    """What capture, load, verify, reset and status import leaves out what only other commands and rare values need."""
    use_cases = (
        "capture.snapshot, capture.mask.prepare, load.snapshot, verify.database, verify.status, testing.reset, "
        "testing.states, ci.checks"
    )
    modules = ", ".join(f"snapseed.{name}" for name in use_cases.split(", "))
    unwanted = ("polars", "pyarrow.compute", "rich", "stamina", "redis", "snapseed.embeddings")
    code = f"import sys, {modules}; print([name for name in {unwanted} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
