"""Keep passwords out of everything that others can see: messages, logs, reports and the list of processes."""

from __future__ import annotations

import re
import shlex
import sys
from contextlib import suppress
from functools import cache

from setproctitle import setproctitle

# Each pattern takes too much rather than too little, and knows what stands percent-encoded in another URL. In a URL: up
# to the last @ of the line, since a password may hold characters that nobody escaped. In its query: up to the next
# parameter. In a string of keys and values: up to a space that no backslash escapes, or up to the closing quote if
# there is one. A parameter whose name has encoded characters has something to hide.
_AUTHORITY = re.compile(r"(?i)((?::/+|%3A%2F%2F)(?:[^:/?#\n%]|%(?!3A))*(?::|%3A)).*(@|%40)")
_VALUE = r"(?:'(?:[^'\\]|\\.)*(?:'|\\?\Z)|(?:[^\s\\]|\\.|\\\Z)+)"
# A setting that is not an option of a command line, and those that need no look at libpq's list: it takes 0.1 s.
_SETTING = re.compile(r"(?<![-\w])(\w+)\s*(?:=|%3D)", re.IGNORECASE)
_HARMLESS = {"host", "hostaddr", "port", "user", "dbname", "sslmode", "application_name", "connect_timeout"}
_QUOTED = re.compile(r"""(?s)".*"|'.*'""")
# A host or a database that somebody gave in place of a URL: nothing of it is a password.
_PLACE = re.compile(r"[\w.-]+(:\d+)?(/[\w.-]*)?")
# What is between :// and the last @ of a URL.
_USER_AND_PASSWORD = re.compile(r"(?<=://)(?P<user>[^:/?#@\s]*):[^/?#]*(?=@)")
# Texts and long numbers in a statement. The server cuts long statements, so what closes a text may be missing.
_LITERAL = re.compile(r"(?s)E?'(?:[^'\\]|\\.|'')*(?:'|\\?\Z)|\$(\w*)\$.*?(?:\$\1\$|\Z)|\b\d{4,}(?:\.\d+)?\b")


def redacted(text: str) -> str:
    """`text` with every password, key and secret of a connection string replaced by ***."""
    text = _AUTHORITY.sub(r"\1***\2", text)
    if not set(_SETTING.findall(text)) - _HARMLESS and "%" not in text:
        return text
    return _parameters().sub(lambda match: f"{match['query'] or match['key']}***", text)


@cache
def _parameters() -> re.Pattern[str]:
    """Settings that libpq itself does not want shown, and everything that is called a password or a secret."""
    names = [r"\w*(?:password|secret)"]
    # Without the driver, as where no more files can be opened, there is an error to show all the same.
    with suppress(ImportError):
        import psycopg  # noqa: PLC0415 - start-up time; only the list of options is asked for, no server

        # "*" marks a password, "D" what is not shown by default, such as keys: PQconninfoOption in libpq-fe.h.
        options = psycopg.pq.Conninfo.get_defaults()
        names += [option.keyword.decode() for option in options if option.dispchar in {b"*", b"D"}]
    name = "|".join(names)
    query = rf"(?P<query>[?&](?:{name}|[^=&\s]*%[^=&\s]*)=)[^&\n]*"
    return re.compile(rf"(?is){query}|(?P<key>(?:\b|(?<=%[0-9A-F][0-9A-F]))(?:{name})(?:\s*=\s*|%3D)){_VALUE}")


class SecretUrl(str):
    """A URL that every library takes as the text it is, and whose `repr` hides the password: pytest shows that."""

    __slots__ = ()

    def __repr__(self) -> str:
        """The text without its password."""
        return repr(redacted(self))


def redacted_sql(statement: str) -> str:
    """A statement of somebody else with *** in place of its values: these may be passwords, or the data of people."""
    return redacted(_LITERAL.sub("***", statement))


def redacted_quotes(message: str, url: str) -> str:
    """An error of a parser of `url` without what it quotes, unless no part of that can be a password.

    What is quoted may itself contain quotation marks.
    """
    return message if _PLACE.fullmatch(url) else redacted(_QUOTED.sub('"***"', message))


def url_without_password(url: str) -> str | None:
    """`url` without its password; None if it may have another one, for example in its query."""
    bare = _USER_AND_PASSWORD.sub(r"\g<user>", url)
    return bare if redacted(bare) == bare else None


def probable_url(text: str) -> str | None:
    """The URL of a database that was probably meant, without its password; None if there is no telling."""
    if _PLACE.fullmatch(text):
        return f"postgresql://{text}" if set(text) & set(".:/") or text == "localhost" else f"postgresql:///{text}"
    # As JDBC and SQLAlchemy write it.
    url = re.sub(r"^(?:jdbc:postgresql|postgres(?:ql)?\+\w+):", "postgresql:", text)
    return redacted(url) if url != text and "://" in url else None


def hide_passwords_in_title() -> None:
    """Show the command line in the list of processes without its passwords.

    Until this runs, a password can be seen there for a moment. So it belongs in a variable or in libpq's password file.
    """
    shown = [redacted(argument) for argument in sys.argv]
    if shown != sys.argv:
        setproctitle(shlex.join(shown))
