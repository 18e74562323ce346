"""The pages of the documentation, split into their fenced blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

_FILE = re.compile(r"`([\w./-]+)`:")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One fenced block. If the line before it is "`path`:", it is a file of the page's project."""

    page: Path
    line: int
    language: str
    text: str
    file: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A line of a shell block, the output shown below it, and the exit code that its comment promises."""

    line: str
    output: tuple[str, ...]
    exit_code: int


def blocks_of(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    before, start, language, lines = "", 0, None, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            if language is None:
                start, language, lines = number, line.removeprefix("```"), []
            else:
                named = _FILE.fullmatch(before)
                yield Block(page, start, language, "\n".join(lines) + "\n", named and named[1])
                language = None
        elif language is not None:
            lines.append(line)
        elif line.strip():
            before = line.strip()
    assert language is None, f"{page}:{start} is not closed"


def commands_of(block: Block) -> list[Command]:
    """The commands of a block: of `console` the lines after "$ ", each with its output; of `sh` all lines."""
    prompt = "$ " if block.language == "console" else ""
    commands: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith(prompt) and line.strip() and not line.startswith("#"):
            words, _, comment = line.removeprefix(prompt).partition(" #")
            promised = re.search(r"exit (\d+)", comment)
            commands.append(Command(words.strip(), (), int(promised[1]) if promised else 0))
        elif line.strip() and prompt:
            last = commands.pop()
            commands.append(Command(last.line, (*last.output, line), last.exit_code))
    return commands


def links_of(page: Path) -> list[str]:
    """The targets of the links of a page, code aside."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", text))


def anchors_of(page: Path) -> set[str]:
    """What links to headings of a page say after the #, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table_rows(page: Path, heading: str) -> dict[str, list[str]]:
    """The rows of the table under a heading: the other cells by the name in the first, which is in backquotes."""
    _, _, rest = page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    assert rest, f"{page} has no heading {heading!r}"
    rows = {}
    for line in rest.partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.replace("\\|", "\0").strip("|").split("|")]
        if line.startswith("| `"):
            rows[cells[0].strip("`")] = [cell.replace("\0", "|") for cell in cells[1:]]
    return rows
