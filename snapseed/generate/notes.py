"""What the generators' docstrings say about their entities: `snapseed show` prints it beside sample rows."""

from __future__ import annotations

import ast
from contextlib import suppress
from pathlib import Path


def read_notes(folder: Path) -> dict[str, str]:
    """The docstring of each generator in `folder`, by entity, on one line. Runs none of their code."""
    notes = {}
    for path in sorted(folder.glob("*.py")):
        with suppress(OSError, SyntaxError, ValueError):
            for node in ast.parse(path.read_bytes()).body:
                if isinstance(node, ast.FunctionDef) and node.decorator_list and (text := ast.get_docstring(node)):
                    named = [
                        word.value
                        for call in node.decorator_list
                        if isinstance(call, ast.Call)
                        for word in call.keywords
                        if word.arg == "name"
                    ]
                    name = next((word.value for word in named if isinstance(word, ast.Constant)), node.name)
                    notes[str(name)] = " ".join(text.split())
    return notes
