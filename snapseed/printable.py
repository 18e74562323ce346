"""Make text of unknown origin harmless to show: on a terminal, in the log of a CI system, in a report."""

from __future__ import annotations

import re

# Control characters, halves of characters, and what changes the order of text, breaks a line or is no character.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
# What GitHub Actions takes for a command: `::` at the beginning of a line, after any white space, and `##[` anywhere
# (actions/runner, ActionCommand.cs). Azure Pipelines takes `##vso[`.
_COMMAND = re.compile(r"(?P<before>^\s*):(?=:)|#(?=#\w*\[)")


def printable(line: str) -> str:
    r"""`line` with unprintable characters as escapes such as `\x1b` and `\n`, and nothing that a CI system obeys."""
    line = UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), line)
    return _COMMAND.sub(lambda match: r"\x23" if match["before"] is None else rf"{match['before']}\x3a", line)
