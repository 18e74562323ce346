"""What pg_dump writes, taken apart into its entries: one for each object of a database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# It writes every name on one line. A setting for an entry and those after it comes before the header.
_HEADER = re.compile(
    r"^(?:SET default_\w+ = .*;\n\n)*--\n-- Name: (?P<name>.*); Type: (?P<type>[A-Z ]+); Schema: .*\n--\n", re.MULTILINE
)
# What we add to an extension that nothing else in a dump uses, and to a materialized view that has no data.
UNUSED = "-- nothing in the schema uses this extension\n"
UNFILLED = "-- without data in the source too\n"
_END = "--\n-- PostgreSQL database dump complete\n"


@dataclass(frozen=True)
class Entry:
    """One object: its type as pg_dump calls it, its name, and its SQL. What comes before all objects has neither."""

    type: str
    name: str
    text: str


def entries(dumped: str) -> Iterator[Entry]:
    """The entries of a dump, in their order; first what comes before all objects, which may be all there is."""
    found = list(_HEADER.finditer(dumped))
    end = dumped.rfind(_END) if _END in dumped else len(dumped)
    starts = [*(header.start() for header in found), end]
    yield Entry("", "", dumped[: starts[0]])
    for header, following in zip(found, starts[1:], strict=True):
        yield Entry(header["type"], header["name"], dumped[header.start() : following])
