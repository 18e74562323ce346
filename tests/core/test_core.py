from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from build_core import SOURCES, compile_core, library_name, source_digest, system_compiler
from tests.core.fuzz import compile_fuzzer, fuzz


@pytest.fixture
def compiler() -> list[str]:
    """The machine's C compiler; tests that need one are skipped where the core came in a wheel."""
    found = system_compiler()
    if found is None:
        pytest.skip("no C compiler on this machine")
    return found


def test_no_input_leaves_its_buffers(compiler: list[str], tmp_path: Path) -> None:
    """Random tables with damaged offsets make no kernel read or write outside of its buffers, or overflow."""
    try:
        program = compile_fuzzer(tmp_path)
    except RuntimeError:
        pytest.skip(f"{compiler[0]} has no sanitizers")
    done = fuzz(program, 0, 5_000)
    assert done.stderr == ""
    assert done.returncode == 0


def test_the_library_names_its_sources(compiler: list[str], tmp_path: Path) -> None:
    """A library that is compiled carries the digest of its sources, by which a stale one is noticed."""
    assert compiler
    library = tmp_path / library_name()
    compile_core(library)
    assert source_digest().encode() in library.read_bytes()


def test_a_stale_library_is_compiled_again(compiler: list[str], tmp_path: Path) -> None:
    """In a checkout, a change of the C sources takes effect at the next start."""
    assert compiler
    package = tmp_path / "snapseed"
    (package / "core").mkdir(parents=True)
    (package / "__init__.py").touch()
    for name in ("errors.py", "redaction.py"):
        shutil.copy(SOURCES.parent / name, package)
    shutil.copy(SOURCES.parents[1] / "build_core.py", tmp_path)
    for path in SOURCES.iterdir():
        if path.suffix in {".py", ".c", ".h"}:
            (package / "core" / path.name).write_bytes(path.read_bytes())
    source = package / "core" / "core.c"
    code = "from snapseed.core import *; print(library().snapseed_hash_values(ColumnBuffers(kind=1), 0, None, None))"

    def start() -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert start() == "-1"
    changed = package / "core" / "hash.c"
    changed.write_text(
        changed.read_text().replace("if (c->kind != TEXT) return BAD_KIND;", "if (c->kind != TEXT) return 7;")
    )
    assert start() == "7"
    source.unlink()
    assert start() == "7"


def test_a_failing_compiler_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler said is part of the error, and nothing is left behind."""
    monkeypatch.setenv("CC", f"{sys.executable} -c 'import sys; sys.exit(\"no such flag\")'")
    with pytest.raises(RuntimeError, match="no such flag"):
        compile_core(tmp_path / library_name())
    assert list(tmp_path.iterdir()) == []
