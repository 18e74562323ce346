"""Keep passwords out of whatever others can see: messages, logs, reports, and the list of processes."""

from __future__ import annotations

import re
import shlex
import sys

from setproctitle import setproctitle

# Each takes too much rather than too little. In a URL up to the last @ of the line, for a password may hold what nobody
# has escaped; in its query up to the next parameter; in a string of keys and values up to a space that no backslash
# escapes, or up to the closing quote, where there is one.
_AUTHORITY = re.compile(r"(://[^:/?#\n]*:).*@")
_QUERY = r"(?P<query>[?&]\w*password=)[^&\n]*"
_KEY = r"(?P<key>password\s*=\s*)(?:'(?:[^'\\]|\\.)*(?:'|\\?\Z)|(?:[^\s\\]|\\.|\\\Z)+)"
_PARAMETER = re.compile(f"(?is){_QUERY}|{_KEY}")


def redacted(text: str) -> str:
    """The same text with every password of a connection string replaced by ***."""
    text = _AUTHORITY.sub(r"\1***@", text)
    return _PARAMETER.sub(lambda match: f"{match['query'] or match['key']}***", text)


def hide_passwords_in_title() -> None:
    """Where the command line holds a password, show it in the list of processes without.

    For the moment until this runs it can be seen there, so a password belongs into a variable or libpq's password file.
    """
    shown = [redacted(argument) for argument in sys.argv]
    if shown != sys.argv:
        setproctitle(shlex.join(shown))
