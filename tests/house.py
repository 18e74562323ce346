"""Measure the code of `snapseed/` against its limits: prints a table, and fails beyond a limit."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "snapseed"
# Self does not count: it is no argument of a call.
MOST_PARAMETERS = 6


@dataclass(frozen=True)
class Measure:
    """A figure, the limit it must not exceed, and where it is exceeded if that can be named."""

    name: str
    value: int
    limit: int
    places: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the figure is within its limit."""
        return self.value <= self.limit


def measures() -> list[Measure]:
    """All figures of the code as it is now."""
    # The starters are projects that newcomers get, not code of ours.
    modules = sorted(path for path in PACKAGE.rglob("*.py") if PACKAGE / "starter" not in path.parents)
    sizes = [len(path.read_text(encoding="utf-8").splitlines()) for path in modules]
    circles = import_circles()
    long_signatures = tuple(crowded_signatures(modules))
    patches = tuple(patched_constants(sorted((ROOT / "tests").rglob("*.py"))))
    return [
        Measure("Python lines", sum(sizes), 37_400),
        Measure("modules", len(modules), 217),
        Measure("import circles between modules", len(circles), 0, circles),
        Measure(
            f"functions with more than {MOST_PARAMETERS} parameters, outside cli/",
            len(long_signatures),
            0,
            long_signatures,
        ),
        Measure("`monkeypatch.setattr` on names of ours in tests", len(patches), 0, patches),
    ]


def import_circles() -> tuple[str, ...]:
    """Each group of modules that import each other in a circle, type-checking imports included."""
    graph = grimp.build_graph("snapseed", include_external_packages=False, cache_dir=None)
    imports = {module: sorted(graph.find_modules_directly_imported_by(module)) for module in sorted(graph.modules)}
    return tuple(" ↔ ".join(sorted(group)) for group in _strongly_connected(imports) if len(group) > 1)


def _strongly_connected(edges: dict[str, list[str]]) -> Iterator[list[str]]:
    """Tarjan's algorithm (1972)."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []

    def visit(node: str) -> Iterator[list[str]]:
        index[node] = lowest[node] = len(index)
        stack.append(node)
        for other in edges[node]:
            if other not in index:
                yield from visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], index[other])
        if lowest[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            yield group

    for node in edges:
        if node not in index:
            yield from visit(node)


def crowded_signatures(modules: list[Path]) -> Iterator[str]:
    """Functions with more parameters than allowed. Commands of the command line have one for each option."""
    for path in modules:
        if path.is_relative_to(PACKAGE / "cli"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                count = len([name for name in names if name not in {"self", "cls"}])
                if count > MOST_PARAMETERS:
                    yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name} ({count})"


def patched_constants(tests: list[Path]) -> Iterator[str]:
    """Places where a test replaces a name of snapseed's: what a test varies should be a parameter."""
    for path in tests:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        ours = {
            alias.asname or alias.name.partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "snapseed"
            for alias in node.names
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            target = node.args[0]
            names_ours = isinstance(target, ast.Name) and target.id in ours
            spells_ours = isinstance(target, ast.Constant) and str(target.value).startswith("snapseed.")
            if node.func.attr == "setattr" and (names_ours or spells_ours):
                yield f"{path.relative_to(ROOT)}:{node.lineno}"


def main() -> int:
    """Print the table; 1 where a limit is exceeded."""
    found = measures()
    for measure in found:
        print(f"{'ok ' if measure.holds else 'NOT'}  {measure.value:>7,} of at most {measure.limit:,}: {measure.name}")
    for measure in found:
        if not measure.holds:
            for place in measure.places:
                print(f"     {place}")
    return 0 if all(measure.holds for measure in found) else 1


if __name__ == "__main__":
    sys.exit(main())
