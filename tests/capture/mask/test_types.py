"""Whatever a rule writes is what PostgreSQL prints: a masked copy verifies, for all rules and types at once."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from snapseed.config.settings import variable_of
from tests.capture.conftest import filled, project_in, restored
from tests.capture.mask.conftest import SECRET
from tests.conftest import new_database

ENDS = [0, *(10**digits for digits in range(39)), 2**15, 2**31, 2**63]
WHOLE = sorted({sign * (end + step) for end in ENDS for sign in (1, -1) for step in (-2, -1, 0, 1, 9)})
DECIMALS = ["9999.99", "-9999.99", "0.01", "-0.10", "1000", "-0.5", "99.9", "12.34", "0", "-123.45"]
LONG = ["9" * 38, "1" + "0" * 22 + ".0003", "-" + "1234567890" * 4, "0." + "0" * 24 + "12", "0.000", "1.50", "NaN"]
TEXTS = ["", " ", "a ", "Ann Lee", "ann@x.org", "Jörg “Ö”", "中文", "🙂", 'q"\\{},', "NULL", "a\tb\nc", "007", "9" * 28]
MOMENTS = ["2020-02-29", "0001-01-01", "9999-12-31", "4714-11-24 BC", "infinity", "-infinity", "12345-01-01"]
LATE = [*MOMENTS, "294276-12-31 23:59:59.999999", "2000-01-01 00:00:00.5"]
DOCUMENTS = ['{"n": 12345678901234567890.50, "t": "é\\u0001\\"", "l": [1, -2.0, null, true, ""]}', "1e30", '"x"', "[]"]
ADDRESSES = ["::1", "10.1.2.3/8", "2001:db8::/32", "::ffff:1.2.3.4"]
UUIDS = ["00000000-0000-0000-0000-000000000000", "0190163d-8694-739b-aea5-966c26f8ad91"]
NEAR = ['{ rule = "number", noise = 1.0 }', '{ rule = "number", noise = 0.1 }', '{ rule = "number", bucket = 10 }']
OF_TEXTS = ['"name"', '"first_name"', '"last_name"', '"address"', '"text"']
LONGER = [*OF_TEXTS, '"email"', '"phone"', '"ip"', '"uuid"', '{ rule = "choice", options = ["a ", "b"] }']
# For each type: values, and rules.
TYPES: dict[str, tuple[list[object], list[str]]] = {
    **{
        name: ([value for value in WHOLE if -(2**bits) <= value < 2**bits], ['"number"', *NEAR])
        for name, bits in {"smallint": 15, "integer": 31, "bigint": 63}.items()
    },
    "numeric(18,0)": ([value for value in WHOLE if abs(value) < 10**18], ['"number"', *NEAR]),
    "numeric(6,2)": ([*DECIMALS], ['"number"', *NEAR]),
    "numeric(7,2)": ([*DECIMALS, "NaN"], ['"number"', *NEAR]),
    "numeric(3,3)": (["0.999", "-0.999", "0.001", "0"], ['"number"', *NEAR]),
    "numeric": ([*WHOLE, *DECIMALS, *LONG, "Infinity"], ['"number"', *NEAR]),
    "real": ([*DECIMALS, "NaN", "-Infinity", "3.4e38", "1e-45"], NEAR),
    "double precision": ([*DECIMALS, "NaN", "-Infinity", "1.7e308", "5e-324"], NEAR),
    "text": ([*TEXTS], LONGER),
    "character varying(45)": ([*TEXTS], LONGER),
    "character varying(3)": (["", "a ", "ab", "中文"], OF_TEXTS),
    "character(45)": ([*TEXTS[3:]], LONGER),
    "character(3)": (["a", "ab", "中文", "-1"], OF_TEXTS),
    "name": (["", "Ann", "x" * 63], LONGER),
    "inet": ([*ADDRESSES], ['"ip"']),
    "cidr": (["10.0.0.0/8", "::/0"], ['"ip"']),
    "uuid": ([*UUIDS], ['"uuid"']),
    "date": ([*MOMENTS], ['"date"']),
    "timestamp": ([*LATE], ['"date"']),
    "timestamp(2)": ([*MOMENTS, "2000-01-01 00:00:00.5"], ['"date"']),
    "timestamptz": ([*LATE], ['"date"']),
    "jsonb": ([*DOCUMENTS], ['"json"', '{ rule = "json", paths = { n = "number", t = "email", l = "text" } }']),
    "json": ([*DOCUMENTS, '{"a":1E5,  "b" : -0}'], ['{ rule = "json", paths = { n = "number", a = "number" } }']),
    "integer[]": (["{}", "{1,NULL}", "{2147483647}"], ['"number"']),
    "numeric[]": (["{1.50,NaN}", "{123456789012345678901234.5}"], ['"number"']),
    "text[]": (['{"a b",NULL,"NULL","\\"{"}'], OF_TEXTS),
    "inet[]": (["{::1,10.0.0.1}"], ['"ip"']),
    "short": (["1", "32767", "-32768"], ['"number"', NEAR[0]]),
}
# Rules that give different values different ones, of these types.
UNIQUE = {
    '"number"': {"smallint", "integer", "bigint", "numeric(18,0)", "numeric(6,2)", "numeric(3,3)"},
    **{f'"{rule}"': {"text", "character varying(45)", "name"} for rule in ("text", "email")},
    '"uuid"': {"text", "character varying(45)", "name", "uuid"},
}
COLUMNS = [(f"c{place}", kind, rule) for place, (kind, rule) in enumerate((k, r) for k in TYPES for r in TYPES[k][1])]


def test_what_rules_write_is_what_the_server_prints(
    server: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the ends of types and lengths too. What is unique stays unique, and equal numbers are equal in all types."""
    monkeypatch.setenv(variable_of("mask_secret"), SECRET)
    columns = ", ".join(f"{name} {kind}" for name, kind, _ in COLUMNS)
    with new_database(server) as url:
        filled(url, f"CREATE DOMAIN short AS smallint; CREATE TABLE r (id int PRIMARY KEY, {columns})")
        with psycopg.connect(url) as connection, connection.cursor().copy(b"COPY r FROM STDIN") as copy:
            for row in range(max(len(values) for values, _ in TYPES.values())):
                listed = [TYPES[kind][0] for _, kind, _ in COLUMNS]
                copy.write_row([row, *(str(values[row]) if row < len(values) else None for values in listed)])
        lines = "\n".join(f"{name} = {rule}" for name, _, rule in COLUMNS)
        captured = project_in(tmp_path, url, f"[environments.dev]\n[mask.r]\n{lines}\n")
        captured.capture(unmasked=False)
        assert restored(captured, database).verified
        with psycopg.connect(url) as source, psycopg.connect(database) as copied:
            unique = [name for name, kind, rule in COLUMNS if kind in UNIQUE.get(rule, ())]
            whole = [name for name, kind, rule in COLUMNS if rule == '"number"' and kind in {"smallint", "integer"}]
            distinct = [sql.SQL("count(DISTINCT {})").format(sql.Identifier(name)) for name in unique]
            distinct += [
                sql.SQL("(SELECT count(*) FROM r a JOIN r b ON a.{} = b.{})").format(*map(sql.Identifier, whole))
            ]
            query = sql.SQL("SELECT {} FROM r").format(sql.SQL(", ").join(distinct))
            assert copied.execute(query).fetchone() == source.execute(query).fetchone()
