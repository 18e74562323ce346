"""Keep passwords out of everything that others can see: messages, logs, reports and the list of processes."""

from __future__ import annotations

import re
import shlex
import sys

from setproctitle import setproctitle

# Each pattern takes too much rather than too little. In a URL: up to the last @ of the line, since a password may hold
# characters that nobody escaped. In its query: up to the next parameter. In a string of keys and values: up to a space
# that no backslash escapes, or up to the closing quote if there is one.
_AUTHORITY = re.compile(r"(://[^:/?#\n]*:).*@")
_QUERY = r"(?P<query>[?&]\w*password=)[^&\n]*"
_KEY = r"(?P<key>password\s*=\s*)(?:'(?:[^'\\]|\\.)*(?:'|\\?\Z)|(?:[^\s\\]|\\.|\\\Z)+)"
_PARAMETER = re.compile(f"(?is){_QUERY}|{_KEY}")
_QUOTED = re.compile(r'".*"', re.DOTALL)
# What is between :// and the last @ of a URL.
_USER_AND_PASSWORD = re.compile(r"(?<=://)(?P<user>[^:/?#@\s]*):[^/?#]*(?=@)")
# CREATE ROLE … PASSWORD '…'. The server cuts long statements, so the closing quote may be missing.
_IN_SQL = re.compile(r"(?i)(\bpassword\s+)(E?'(?:[^']|'')*'?|\S+)")


def redacted(text: str) -> str:
    """`text` with every password of a connection string replaced by ***."""
    text = _AUTHORITY.sub(r"\1***@", text)
    return _PARAMETER.sub(lambda match: f"{match['query'] or match['key']}***", text)


def redacted_sql(statement: str) -> str:
    """`statement` with every password of a role or a connection string replaced by ***."""
    return _IN_SQL.sub(r"\1***", redacted(statement))


def redacted_quotes(message: str) -> str:
    """An error of a parser without what it quotes: that may be part of a password, and contain quotation marks."""
    return redacted(_QUOTED.sub('"***"', message))


def url_without_password(url: str) -> str | None:
    """`url` without its password; None if it may have another one, for example in its query."""
    bare = _USER_AND_PASSWORD.sub(r"\g<user>", url)
    return bare if redacted(bare) == bare else None


def hide_passwords_in_title() -> None:
    """Show the command line in the list of processes without its passwords.

    Until this runs, a password can be seen there for a moment. So it belongs in a variable or in libpq's password file.
    """
    shown = [redacted(argument) for argument in sys.argv]
    if shown != sys.argv:
        setproctitle(shlex.join(shown))
