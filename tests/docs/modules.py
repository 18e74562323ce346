"""The table of modules in architecture.md, made from their docstrings: `python -m tests.docs.modules` writes it."""

from __future__ import annotations

import ast
import re

from tests.docs.pages import DOCS, ROOT

PAGE = DOCS / "architecture.md"
BEGIN, END = "<!-- modules: begin -->\n", "<!-- modules: end -->\n"


def module_table() -> str:
    """One line for each module of `snapseed/`, with the first sentence of its docstring."""
    lines = ["| module | what it holds |", "|---|---|"]
    for path in sorted((ROOT / "snapseed").rglob("*.py"), key=lambda path: (path.parent, path.name)):
        if ROOT / "snapseed" / "starter" in path.parents:
            continue
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        sentence = re.split(r"(?<=[.])\s", " ".join(text.split()), maxsplit=1)[0].replace("|", "\\|")
        lines.append(f"| `{path.relative_to(ROOT / 'snapseed').as_posix()}` | {sentence} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with the table as it should be now."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{module_table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
