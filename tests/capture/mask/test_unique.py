"""Unique columns stay unique, over all columns of each index, or the rule is refused before a row is read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snapseed.errors import ConfigurationError
from tests.capture.mask.conftest import Prepare

# An index, the rules, and whether they keep it unique.
VARIANTS = [
    ("UNIQUE (v)", 'v = "text"', True),
    ("UNIQUE (v)", 'v = "email"', True),
    ("UNIQUE (v)", 'v = "uuid"', True),
    ("UNIQUE (v)", 'v = "null"', True),
    ("UNIQUE (v)", 'v = "name"', False),
    ("UNIQUE (v)", 'v = "phone"', False),
    ("UNIQUE (v)", 'v = "ip"', False),
    ("UNIQUE (v)", 'v = "address"', False),
    ("UNIQUE (v)", 'v = { rule = "constant", value = "x" }', False),
    ("UNIQUE (v)", 'v = { rule = "choice", options = ["x", "y"] }', False),
    ("UNIQUE (v)", 'v = "prefixes:kept"', False),
    ("UNIQUE (v)", 'v = { rule = "prefixes:kept", unique = true }', True),
    ("(lower(v))", 'v = { rule = "prefixes:kept", unique = true }', False),
    ("UNIQUE (n)", 'n = "number"', True),
    ("UNIQUE (n)", 'n = { rule = "number", noise = 0.1 }', False),
    ("UNIQUE (n)", 'n = { rule = "number", bucket = 10 }', False),
    ("UNIQUE (free)", 'free = "number"', False),
    ("UNIQUE (n, v)", 'v = "name"', False),
    ("UNIQUE (n, v)", 'v = "text"', True),
    ("UNIQUE (n, v)", 'v = "text"\nn = "number"', True),
    ("UNIQUE (id, v)", 'v = "name"', True),  # id alone is unique
    ("UNIQUE (id, v)", 'v = "name"\nid = "number"', True),
    ("UNIQUE (n, day)", 'day = "date"', False),
    ("UNIQUE (n, day)", 'day = { rule = "date", by = "n" }', True),
    ("UNIQUE (n, day)", 'day = { rule = "date", by = "n" }\nn = "number"', True),
    ("UNIQUE (day)", 'day = { rule = "date", by = "n" }', False),
    ("UNIQUE NULLS NOT DISTINCT (v)", 'v = "null"', False),
    ("UNIQUE NULLS NOT DISTINCT (v)", 'v = "text"', True),
    ("EXCLUDE (v WITH =)", 'v = "name"', False),
    ("EXCLUDE (v WITH =)", 'v = "text"', True),
    ("EXCLUDE USING gist (period WITH &&)", 'v = "text"', True),
    ("(lower(v))", 'v = "email"', True),
    ("(lower(v))", 'v = "text"', False),
    ("(lower(short))", 'short = "uuid"', True),
    ("(left(v, 3))", 'v = "email"', False),
    ("(md5(v))", 'v = "text"', False),
    ("(lower(v), n)", 'n = "number"', True),
    ("(v) WHERE n > 3", 'v = "text"', True),
    ("(v) WHERE n > 3", 'v = "text"\nn = "number"', False),
    ("(n) WHERE v LIKE 'once%'", 'v = "text"', False),
    ("(n) WHERE short = 'v'::text", 'v = "name"', True),
    ("(n) WHERE v IS NOT NULL", 'v = "text"', True),
    ("(n) WHERE v IS NULL", 'v = "null"', False),
    ("(n) WHERE low IS NOT NULL", 'v = "text"', False),
    ("(coalesce(v, ''))", 'v = "null"', False),
    ("(low)", 'v = "email"', True),
    ("(low)", 'v = "name"', False),
    ("(v) INCLUDE (short)", 'short = "name"', True),
]


@pytest.mark.parametrize(("index", "rules", "holds"), VARIANTS)
def test_a_rule_is_refused_unless_each_unique_index_stays_unique(
    index: str, rules: str, holds: object, tables: Callable[[str], None], prepare: Prepare
) -> None:
    """Indexes over several columns, partial ones, expressions and exclusion constraints are told apart."""
    constraint, after = (f", {index}", "") if index[0] != "(" else ("", f"CREATE UNIQUE INDEX ON u {index}")
    tables(
        f"""CREATE TABLE u (id int PRIMARY KEY, v text, short varchar(40), n int NOT NULL, day date, period daterange,
              free numeric, low text GENERATED ALWAYS AS (lower(v)) STORED {constraint}); {after}"""
    )
    lines = f"[mask.u]\n{rules}"
    if holds:
        assert prepare(lines).masked
    else:
        with pytest.raises(ConfigurationError) as caught:
            prepare(lines)
        assert "unique" in (caught.value.observed or "") or "change" in (caught.value.observed or "")
