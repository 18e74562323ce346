"""What rules make of values: the same for the same secret, and of the right form."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
import sys
import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed.capture.mask.documents import replaced_documents
from snapseed.capture.mask.keyed import MaskKey
from snapseed.capture.mask.masks import TableMasks
from snapseed.capture.mask.rules import label_of
from snapseed.capture.mask.values import BoundRule, RuleError, replaced, shifted
from snapseed.config.settings import MaskRule
from snapseed.errors import SnapshotError
from snapseed.generate.draws.texts import canonical_json
from snapseed.postgres.facts import TableName
from snapseed.snapshot.types import parse_type
from tests.examples import examples

KEY = MaskKey.of("a secret of the tests, long enough", "rule")
# Of the reference implementation (vectors.h): the key 00 01 … 0f, and messages of so many bytes 00 01 02 ….
VECTORS = {
    0: "a3817f04ba25a8e66df67214c7550293",
    1: "da87c1d86b99af44347659119b22fc45",
    15: "5493e99933b0a8117e08ec0f97cfc3d9",
}
FORMS = {
    "name": r"[A-Z][a-z]+ [A-Z][a-z]+",
    "first_name": r"[A-Z][a-z]+",
    "last_name": r"[A-Z][a-z]+",
    "email": r"[a-z]+\.[a-z]+\.[0-9a-z]{16}@example\.com",
    "phone": r"\+1555\d{7}",
    "address": r"\d{1,3} [A-Z][A-Za-z ]+",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
}


def bound(rule: str, kind: str = "text", **options: object) -> BoundRule:
    """A rule with its key."""
    made = MaskRule(rule, **options)  # type: ignore[arg-type]
    return BoundRule(made, MaskKey.of("a secret of the tests, long enough", label_of(made)), parse_type(kind))


def masked(rule: str, values: list[object], kind: str = "text", **options: object) -> list[object]:
    """The values that a rule makes of others."""
    given = pa.array(values, parse_type(kind).arrow)
    made: list[object] = replaced(bound(rule, kind, **options), given).to_pylist()
    return made


# Ends at the first import of a library that takes a tenth of a second or more, and that other rules need.
WITHOUT_LIBRARIES = """
import sys
import numpy as np
import pyarrow as pa
from snapseed.capture.mask.keyed import MaskKey
from snapseed.capture.mask.values import BoundRule, replaced, shifted
from snapseed.config.settings import MaskRule
from snapseed.snapshot.arrow import of_numbers, of_texts
from snapseed.snapshot.types import parse_type
class Finder:
    def find_spec(name, *_):
        if name in {"pandas", "polars"}:
            sys.exit(name)
sys.meta_path.insert(0, Finder)
key, texts, numbers = MaskKey.of("a secret", "rule"), of_texts(["Ann", "Lee"]), of_numbers(np.arange(2), pa.int64())
for rule in ("name", "first_name", "last_name", "email", "phone", "address", "ip", "text"):
    replaced(BoundRule(MaskRule(rule), key), texts)
replaced(BoundRule(MaskRule("number"), key, parse_type("bigint")), numbers)
shifted(BoundRule(MaskRule("date"), key), numbers.view(pa.timestamp("us")), key.bits(numbers)[0])
"""


@pytest.mark.parametrize("length", VECTORS)
def test_the_keyed_hash_is_siphash_2_4_with_128_bits(length: int) -> None:
    """It gives the published test vectors."""
    first, second = MaskKey(bytes(range(16))).bits(pa.array([bytes(range(length))]))
    assert (first.tobytes() + second.tobytes()).hex() == VECTORS[length]


@pytest.mark.parametrize("rule", [*FORMS, "text", "ip", "number"])
def test_equal_values_stay_equal_and_another_secret_gives_others(rule: str) -> None:
    """In another batch, beside NULLs and in arrays too. NULL stays NULL."""
    kind = "bigint" if rule == "number" else "text"
    values: list[object] = [1_234_567, 42_424_242, None] if rule == "number" else ["Ann Lee", "bo@x.org", None]
    made = masked(rule, values, kind)
    assert made[2] is None
    assert made[0] != made[1]
    assert not set(made) & (set(values) - {None})
    assert masked(rule, values[1:], kind) == made[1:]
    assert masked(rule, [[values[1], None], None, []], kind + "[]") == [[made[1], None], None, []]
    other = BoundRule(MaskRule(rule), MaskKey.of("another secret, which is as long", rule), parse_type(kind))
    assert replaced(other, pa.array(values, parse_type(kind).arrow)).to_pylist()[:2] != made[:2]


@pytest.mark.parametrize("rule", [*FORMS, "text", "ip", "number"])
def test_a_piece_of_a_column_is_masked_as_the_whole(rule: str) -> None:
    """Wherever it begins, with NULLs and in arrays."""
    kind = "bigint" if rule == "number" else "text"
    plain = [None if number % 3 else number if rule == "number" else f"value {number}" for number in range(100)]
    for values in (
        pa.array(plain, parse_type(kind).arrow),
        pa.array([[value, None] if value else None for value in plain]),
    ):
        whole = replaced(bound(rule, kind), values).to_pylist()
        for begin in (1, 8, 13):
            assert replaced(bound(rule, kind), values.slice(begin, 70)).to_pylist() == whole[begin : begin + 70]


@pytest.mark.parametrize("rule", FORMS)
def test_what_a_rule_writes_has_its_form(rule: str) -> None:
    """Whatever the value was, also an empty text."""
    made = masked(rule, ["", "x", *map(str, range(200))])
    assert all(re.fullmatch(FORMS[rule], str(value)) for value in made)
    assert len(set(made)) == len(made) or rule not in {"email", "uuid"}


def test_most_rules_import_neither_polars_nor_pandas() -> None:
    """Pyarrow does import pandas, where it is installed, to make an array or a scalar of Python values."""
    subprocess.run([sys.executable, "-c", WITHOUT_LIBRARIES], check=True)


def test_texts_keep_length_and_shape_and_no_two_become_one() -> None:
    """All texts of two characters of some alphabets, and all characters of one to four bytes."""
    alphabet = "abzABZ0129 -_.“”€éßЖ中🙂\n"
    every = [chr(code) for code in range(1, 0x11000) if not 0xD800 <= code < 0xE000]
    values = list(dict.fromkeys(["", *every, *(a + b for a in alphabet for b in alphabet), "x" * 700, "x" * 700 + "y"]))
    made = pa.array(masked("text", values))  # type: ignore[arg-type]
    made.validate(full=True)
    texts = made.to_pylist()
    assert len(set(texts)) == len(values)
    for value, text in zip(values, texts, strict=True):
        assert len(text.encode()) == len(value.encode())
        assert re.sub("[a-z]", "a", re.sub("[A-Z]", "A", re.sub("[0-9]", "0", text)))[:1] in {
            value[:1],
            "a",
            "A",
            "0",
        } or (not value[:1].isascii())
    assert masked("text", ["Ann-Lee 42"])[0] != "Ann-Lee 42"
    assert re.fullmatch(r"[A-Z][a-z]{2}-[A-Z][a-z]{2} \d\d", str(masked("text", ["Ann-Lee 42"])[0]))


@pytest.mark.parametrize("end", [0, *(10**digits for digits in range(19)), 2**15, 2**31, 2**63])
def test_numbers_keep_sign_digits_and_integer_type_and_no_two_become_one(end: int) -> None:
    """Those next to the ends of each number of digits and of each type; all of smallint with those of 0."""
    near = [sign * end + step for sign in (1, -1) for step in range(-500, 500)] if end else range(-(2**15), 2**15)
    values = sorted({value for value in near if -(2**63) <= value < 2**63})
    made = KEY.numbers(np.array(values, dtype=np.int64)).tolist()
    assert len(set(made)) == len(values)
    for value, number in zip(values, made, strict=True):
        assert ((number < 0), (number == 0), len(str(number))) == ((value < 0), (value == 0), len(str(value)))
        assert [-size <= number < size for size in (2**15, 2**31)] == [-size <= value < size for size in (2**15, 2**31)]
    if not end:
        assert sorted(made) == values
        assert abs(np.corrcoef(values[-20_000:], made[-20_000:])[0, 1]) < 0.1


def test_uuids_keep_version_and_variant() -> None:
    """No two become one."""
    values = [uuid.uuid4(), uuid.UUID(int=0), uuid.UUID("0190163d-8694-739b-aea5-966c26f8ad91"), None]
    column = pa.array([value and value.bytes for value in values], pa.binary(16))
    made = KEY.uuids(pa.ExtensionArray.from_storage(pa.uuid(), column)).to_pylist()
    assert [value and (value.version, value.variant) for value in made] == [
        value and (value.version, value.variant) for value in values
    ]
    assert made[3] is None
    assert not set(made[:3]) & set(values)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("smallint", [1, -7, 32_767, None]),
        ("numeric(6,2)", [Decimal("9999.99"), Decimal("-0.01"), None]),
        ("numeric", ["120.50", "-0.001", "NaN", "123456789012345678901.5", None]),
        ("real", [1.5, -2e9, float("inf"), None]),
    ],
)
def test_noise_and_buckets_stay_near_and_within_the_type(kind: str, values: list[object]) -> None:
    """Within the share that was asked for, or down to a multiple, towards zero. What is not finite stays."""
    near, floor = masked("number", values, kind, noise=0.5), masked("number", values, kind, bucket=10)
    for value, noisy, multiple in zip(values, near, floor, strict=True):
        if value is None or str(value) in {"NaN", "inf"}:
            assert str(noisy) == str(multiple) == str(value)
        elif len(str(value)) < 20:
            size = float(str(value))
            assert abs(float(str(noisy)) - size) <= abs(size) / 2 + 1
            assert abs(float(str(multiple))) == pytest.approx(abs(size) // 10 * 10)
    assert near != values


def test_dates_of_a_row_move_together() -> None:
    """By the same number of days in each column, so that their order stays; infinities stay."""
    rule, bits = bound("date", days=10), np.arange(1, 1_000, dtype=np.uint64) << np.uint64(54)
    days = pa.array(np.full(999, 18_000, dtype=np.int32)).view(pa.date32())
    moments = pa.array(np.full(999, 18_000 * 86_400_000_000 + 5)).view(pa.timestamp("us"))
    moved = np.array(shifted(rule, days, bits).cast(pa.int32())) - 18_000
    assert set(moved) == set(range(-10, 11))
    assert ((np.array(shifted(rule, moments, bits).cast(pa.int64())) - 5) // 86_400_000_000 - 18_000 == moved).all()
    ends = pa.array([2**31 - 1, -(2**31), None], pa.int32()).view(pa.date32())
    assert shifted(rule, ends, bits[:3]).equals(ends)


def test_addresses_are_of_private_networks() -> None:
    """IPv6 stays IPv6, in the spelling of PostgreSQL."""
    made = masked("ip", ["203.0.113.9", "2001:db8::1", None], "inet")
    four, six = (ipaddress.ip_interface(str(value)) for value in made[:2])
    assert (four.version, six.version) == (4, 6)
    assert four.ip in ipaddress.ip_network("10.0.0.0/8")
    assert six.ip in ipaddress.ip_network("fd00::/8")
    assert made[1] == f"{six.ip}/128"


def test_texts_of_citext_are_equal_whatever_their_case() -> None:
    """As they are to PostgreSQL; and blanks at the end of char(n) do not count."""
    for rule in ("email", "text"):
        assert len(set(masked(rule, ["ANN@x.org", "ann@X.org"], "citext"))) == 1
        assert len(set(masked(rule, ["ann", "ann  "], "character(5)"))) == 1


_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=9,
)


@examples(25)
@given(st.lists(st.none() | DOCUMENTS, max_size=6))
def test_documents_keep_their_form(documents: list[object]) -> None:
    """Whatever is in them: keys, numbers and lengths stay, and jsonb stays in PostgreSQL's own spelling."""
    texts = [None if document is None else canonical_json(json.dumps(document)) for document in documents]
    made = replaced_documents(pa.array(texts, pa.string()), {}, bound("text")).to_pylist()
    for text, changed in zip(texts, made, strict=True):
        assert (text is None) == (changed is None)
        if changed is not None:
            assert canonical_json(changed) == changed
            assert shape(json.loads(changed)) == shape(json.loads(str(text)))
    assert replaced_documents(pa.array(texts, pa.string()), {}, bound("keep")).to_pylist() == texts


def shape(document: object) -> object:
    """The document with the length of each text in its place."""
    if isinstance(document, dict):
        return {name: shape(value) for name, value in document.items()}
    if isinstance(document, list):
        return [shape(value) for value in document]
    return len(document.encode()) if isinstance(document, str) else document


def test_values_of_documents_have_the_rules_of_their_paths() -> None:
    """Equal values become equal in documents and in columns. What no path names is masked as text, numbers stay."""
    text = '{"mail": "ann@x.org", "to": {"mail": "bo", "more": ["ann@x.org", {"n": 12.5}]}, "n": 1e5, "ok": true}'
    paths = {"mail": bound("email"), "to": bound("null"), "to.more": bound("email"), "to.more.n": bound("number")}
    (made,) = map(json.loads, replaced_documents(pa.array([text]), paths, bound("text")).to_pylist())
    (mail,) = masked("email", ["ann@x.org"])
    assert (made["mail"], made["to"]["mail"], made["to"]["more"][0]) == (mail, None, mail)
    assert (made["n"], made["ok"]) == (1e5, True)
    assert made["to"]["more"][1]["n"] != 12.5
    numbers = pa.array(["[" + ", ".join(f"{number}" for number in range(-500, 500)) + "]"])
    for rule in ("text", "number", "email", "null"):
        (made,) = replaced_documents(pa.array(['{"a": ' + numbers[0].as_py() + "}"]), {"a": bound(rule)}, bound("keep"))
        assert canonical_json(made.as_py()) == made.as_py()
        assert json.loads(made.as_py())["a"] != list(range(-500, 500))
    many = pa.array(["[" + ",".join(['"a"'] * 100) + "]"] * 3)
    assert (
        replaced_documents(many.slice(1), {}, bound("null")).to_pylist() == ["[" + ",".join(["null"] * 100) + "]"] * 2
    )


@pytest.mark.parametrize("text", ['{"a"', '["a', "]", "[" * 2_000, '{"a": }'])
def test_a_broken_document_is_no_way_out_of_its_buffer(text: str) -> None:
    """It is an error, or stays as it is."""
    try:
        made = replaced_documents(pa.array([text]), {}, bound("keep")).to_pylist()
    except ValueError:
        return
    assert made == [text]


def test_functions_get_series_and_return_them() -> None:
    """NULL stays NULL. A result of another length is an error."""
    rule = BoundRule(MaskRule("m:f"), KEY, function=lambda values: values.str.to_uppercase())
    assert replaced(rule, pa.array(["a", None])).to_pylist() == ["A", None]
    short = BoundRule(MaskRule("m:f"), KEY, function=lambda values: values.head(1))
    with pytest.raises(RuleError):
        replaced(short, pa.array(["a", "b"]))


def test_a_key_does_not_show_itself() -> None:
    """Neither in its repr nor in that of what holds it."""
    assert KEY.raw.hex() not in repr(KEY)
    assert "raw" not in repr(bound("text"))


def test_arrays_that_are_stored_as_text_are_not_let_through() -> None:
    """No rule but `null` knows the form that such an array has as a text."""
    table, rows = TableName("public", "t"), pa.RecordBatch.from_pydict({"a": ["{{1,2},{3,4}}", None]})
    for rule in ("number", "text", "null"):
        masks = TableMasks(table, {"a": bound(rule, "integer[]")})
        if rule == "null":
            assert masks.apply(rows)["a"].to_pylist() == [None, None]
        else:
            with pytest.raises(SnapshotError):
                masks.apply(rows)
