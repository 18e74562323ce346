"""Keep passwords out of whatever others can see: messages, logs, reports, and the list of processes."""

from __future__ import annotations

import re
import shlex
import sys

from setproctitle import setproctitle

# In a URL up to the last @: a password may hold one that nobody has escaped.
_PASSWORD = re.compile(r"(?i)(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)|(://[^:/?#@\s]*:)(\S*)(@)")


def redacted(text: str) -> str:
    """The same text with every password of a connection string replaced by ***."""
    return _PASSWORD.sub(lambda match: f"{match[1]}***" if match[1] else f"{match[3]}***{match[5]}", text)


def hide_passwords_in_title() -> None:
    """Where the command line holds a password, show it in the list of processes without.

    For the moment until this runs it can be seen there, so a password belongs into a variable or libpq's password file.
    """
    shown = [redacted(argument) for argument in sys.argv]
    if shown != sys.argv:
        setproctitle(shlex.join(shown))
