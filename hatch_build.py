"""Build hook: compile the core into the wheel, or beside its sources for an editable install."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags


class CoreBuildHook(BuildHookInterface[Any]):
    """Builds for the target that `SNAPSEED_TARGET` names (see `snapseed/core/build.py`), otherwise for this machine."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """The zig compiler, where it cross-compiles or where the machine has no compiler of its own."""
        return ["ziglang>=0.15"] if _target() or not self._build.system_compiler() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say for which platform the wheel is."""
        target = _target()
        if target and target not in self._build.TARGETS:
            sys.exit(f"SNAPSEED_TARGET is {target}, expected one of: {', '.join(self._build.TARGETS)}")
        if version == "editable":
            self._build.compile_core(Path(self.root) / "snapseed" / "core" / self._build.library_name())
            return
        folder = Path(self.directory)
        folder.mkdir(parents=True, exist_ok=True)
        library = folder / self._build.library_name(target)
        self._build.compile_core(library, target=target)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{self._build.TARGETS[target] if target else next(platform_tags())}"
        build_data["force_include"][str(library)] = f"snapseed/core/{library.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Leave nothing but the wheel."""
        if version != "editable":
            (Path(self.directory) / self._build.library_name(_target())).unlink()

    @property
    def _build(self) -> ModuleType:
        """`snapseed.core.build` without `snapseed`, whose dependencies are not installed here."""
        name = "_snapseed_core_build"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, Path(self.root) / "snapseed" / "core" / "build.py")
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return sys.modules[name]


def _target() -> str | None:
    return os.environ.get("SNAPSEED_TARGET") or None
