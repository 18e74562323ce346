"""Compile `snapseed/core` by the machine's C compiler, or by zig: for the build hook, and in a checkout.

`python build_core.py` prints the platforms that wheels are built for.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SOURCES = Path(__file__).parent / "snapseed" / "core"
# What every build has in common. No floating-point shortcuts: all results are the same on every processor.
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-fPIC", "-shared", "-s")
# Platforms that we build wheels for: zig's name of the target, and the tag of the wheel.
TARGETS = {
    "x86_64-linux-gnu.2.17": "manylinux_2_17_x86_64.manylinux2014_x86_64",
    "aarch64-linux-gnu.2.17": "manylinux_2_17_aarch64.manylinux2014_aarch64",
    "x86_64-linux-musl": "musllinux_1_2_x86_64",
    "aarch64-linux-musl": "musllinux_1_2_aarch64",
    "x86_64-macos.11.0": "macosx_11_0_x86_64",
    "aarch64-macos.11.0": "macosx_11_0_arm64",
}
_COMPILERS = ("cc", "gcc", "clang")


def source_digest() -> str:
    """The SHA-256 of all C files. It is compiled into the library, so that a stale library is noticed."""
    digest = hashlib.sha256()
    for path in sorted([*SOURCES.glob("*.c"), *SOURCES.glob("*.h")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def library_name(target: str | None = None) -> str:
    """The file of the library, for this machine or a target."""
    is_mac = "macos" in target if target else sys.platform == "darwin"
    return "core.dylib" if is_mac else "core.so"


def system_compiler() -> list[str] | None:
    """The command of `CC`, else of a C compiler on the PATH; None if there is none."""
    if chosen := os.environ.get("CC"):
        return shlex.split(chosen)
    return next(([found] for name in _COMPILERS if (found := shutil.which(name))), None)


def own_target() -> str:
    """Zig's name for this machine. Without a target, zig would compile for this very processor."""
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    if sys.platform == "darwin":
        return f"{machine}-macos"
    return f"{machine}-linux-{'gnu' if platform.libc_ver()[0] == 'glibc' else 'musl'}"


def has_zig() -> bool:
    """Whether the wheel `ziglang`, which carries a C compiler, is installed for this Python."""
    return importlib.util.find_spec("ziglang") is not None


def compile_core(library: Path, *, target: str | None = None, flags: Sequence[str] = ()) -> None:
    """Compile into `library`, replaced in one step. With a `target` (such as `aarch64-linux-gnu.2.17`) always by zig.

    Raises `RuntimeError` if there is no compiler, or with what it said if it fails.
    """
    compiler = None if target else system_compiler()
    if compiler is None and (target or has_zig()):
        compiler = [sys.executable, "-m", "ziglang", "cc", "-target", target or own_target()]
    if compiler is None:
        raise RuntimeError("no C compiler: install one, name one in CC, or `pip install ziglang`")
    sanitizer = ["-fno-sanitize=undefined"] if "ziglang" in compiler else []
    define = f'-DSNAPSEED_SOURCE="{source_digest()}"'
    with tempfile.TemporaryDirectory(dir=library.parent, prefix=".core-") as folder:
        made = Path(folder) / library.name
        command = [*compiler, *FLAGS, *sanitizer, *flags, define, "-o", str(made), str(SOURCES / "core.c")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")
        made.replace(library)


def ensure_core(library: Path) -> None:
    """Compile unless the library is there and made of these sources. Raises as `compile_core`."""
    if not (library.exists() and source_digest().encode() in library.read_bytes()):
        compile_core(library)


if __name__ == "__main__":
    print(*TARGETS)
