"""What all reports are laid out with: tables, sizes, rates."""

from __future__ import annotations

from collections.abc import Sequence

Document = dict[str, object]

_MEGABYTES_FROM = 100_000
_SHOWN_CHARACTERS = 100


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under a header; those that hold numbers in every row are set to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    right = [bool(rows) and all(row[column][:1].isdigit() for row in rows) for column in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def megabytes(size: float) -> str:
    """A size for people."""
    return f"{size / 1e6:,.1f} MB" if size >= _MEGABYTES_FROM else f"{size / 1e3:,.1f} kB"


def rate(rows: int, seconds: float) -> str:
    """Rows per second for people."""
    return f"{rows / seconds:,.0f}" if seconds > 0 else "-"


def shortened(text: str | None) -> str:
    """A value of a column for people, cut where it is long."""
    return (
        "NULL"
        if text is None
        else repr(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…")
    )
