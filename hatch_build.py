"""Build hook: compile the core into the wheel, or beside its sources for an editable install."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

# Hatchling runs this file from the text of it, without its folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

import build_core


class CoreBuildHook(BuildHookInterface[Any]):
    """Builds for the target that `SNAPSEED_TARGET` names (see `build_core.py`), otherwise for this machine."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """The zig compiler, where it cross-compiles or where the machine has no compiler of its own."""
        return ["ziglang>=0.15"] if _target() or not build_core.system_compiler() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say for which platform the wheel is."""
        target = _target()
        if target and target not in build_core.TARGETS:
            sys.exit(f"SNAPSEED_TARGET is {target}, expected one of: {', '.join(build_core.TARGETS)}")
        if version == "editable":
            build_core.compile_core(Path(self.root) / "snapseed" / "core" / build_core.library_name())
            return
        folder = Path(self.directory)
        folder.mkdir(parents=True, exist_ok=True)
        library = folder / build_core.library_name(target)
        build_core.compile_core(library, target=target)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{build_core.TARGETS[target] if target else next(platform_tags())}"
        build_data["force_include"][str(library)] = f"snapseed/core/{library.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Leave nothing but the wheel."""
        if version != "editable":
            (Path(self.directory) / build_core.library_name(_target())).unlink()


def _target() -> str | None:
    return os.environ.get("SNAPSEED_TARGET") or None
