"""Draws of texts, by the name of their column: names, addresses, links, codes. Unique ones carry their row's number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from snapseed.scaffold.draws import Draw, Wanted, choice, constant, quoted
from snapseed.scaffold.naming import singular, words_of
from snapseed.scaffold.sampling import Piece, examples_of, pieces_of
from snapseed.scaffold.templates import templated
from snapseed.scaffold.vocabulary import CODES

_PERSON = "{FIRST_NAMES} {LAST_NAMES}"
_PEOPLE = re.compile(r"person|people|customer|user|author|actor|artist|employee|player|member")
_COLUMN = "(?:^|_)"
_CODE = rf"{_COLUMN}(?:sku|ref|reference|no|nr|serial|barcode|isbn|uid|tag)(?:_|$)|(?:_id|number|code)$"
# What suits columns whose names match, the best first: templates, or values to choose from. Only templates with the
# number of the row are unique.
_BY_NAME: tuple[tuple[str, str | tuple[str, ...]], ...] = (
    ("mail", "{first_name}.{last_name}{number}@example.com"),
    ("mail", "{WORDS}{number}@example.com"),
    ("mail", "{number}@a.io"),
    (r"user_?name|login|nick|handle|screen_?name|account_?name", "{WORDS}{number}"),
    (r"(?:url|uri|link|href|website|homepage|web)(?:_|$)", "https://example.com/{WORDS}-{number}"),
    ("image|photo|avatar|picture|thumbnail", "https://example.com/{number}.png"),
    ("path|file", "/{WORDS}/{number}.txt"),
    (rf"{_COLUMN}(?:domain|host|hostname|subdomain)$", "{WORDS}{number}.example.com"),
    (rf"{_COLUMN}ip(?:_|$|v4)", "10.0.0.{1-254}"),
    ("slug|permalink", "{WORDS}-{number}"),
    (
        rf"{_COLUMN}(?:token|hash|digest|password|passwd|secret|checksum|signature|sha\d+|md5|api_?key|session)(?:_|$)",
        "{number:32}",
    ),
    (rf"{_COLUMN}(?:phone|fax|mobile|cell|tel|telephone)", "+1555{number:7}"),
    (rf"{_COLUMN}(?:street|address(?:_?(?:line)?_?\d*)?|addr\d?)$", "{1-250} {STREETS}"),
    (rf"{_COLUMN}(?:zip|zip_?code|postal|postal_?code|postcode)$", "{10000-99999}"),
    (rf"{_COLUMN}(?:full|contact|customer|display|person|author|owner|employee|holder|recipient|ship)_?name$", _PERSON),
    (rf"{_COLUMN}(?:initials?|mi)$", ("A", "B", "C", "D", "E", "J", "K", "L", "M")),
    (rf"{_COLUMN}(?:first|given|middle)_?name|^forename", "{FIRST_NAMES}"),
    (rf"{_COLUMN}(?:last|family)_?name|^surname", "{LAST_NAMES}"),
    (rf"{_COLUMN}(?:city|town|birthplace|province|region|district|county|area)(?:_name)?$", "{CITIES}"),
    (rf"{_COLUMN}(?:country|nation|nationality)(?:_name)?$", "{COUNTRIES}"),
    (rf"{_COLUMN}(?:company|employer|organi[sz]ation|vendor|supplier|brand|maker)(?:_?name)?$", "{COMPANIES}"),
    (rf"{_COLUMN}(?:description|summary|notes?|comments?|remarks?|bio|body|content|message|text)$", "{SENTENCES}"),
    (rf"{_COLUMN}(?:review|details?|reason|excerpt|overview|abstract|caption|quote|feedback)$", "{SENTENCES}"),
    (rf"{_COLUMN}(?:billing|home|ship\w*|address)_state$", "{CITIES}"),
    (rf"{_COLUMN}(?:status|state|stage)$", ("active", "closed", "new", "waiting")),
    (rf"{_COLUMN}currency(?:_code)?$", ("CHF", "EUR", "GBP", "JPY", "USD")),
    (rf"{_COLUMN}(?:language|lang)(?:_code)?$", ("de", "en", "es", "fr", "ja")),
    (rf"{_COLUMN}locale$", ("de_DE", "en_US", "es_ES", "fr_FR", "ja_JP")),
    (rf"{_COLUMN}(?:time_?zone|tz)$", ("America/New_York", "Asia/Tokyo", "Europe/Berlin", "UTC")),
    (rf"{_COLUMN}country(?:_code)?$|{_COLUMN}nation", CODES),
    (rf"{_COLUMN}(?:state|province|region)(?:_code|_abbr)?$", ("CA", "FL", "NY", "OR", "TX", "WA")),
    (rf"{_COLUMN}colou?r$", ("black", "blue", "green", "red", "white")),
    (rf"{_COLUMN}(?:gender|sex)$", ("female", "male", "other")),
    (rf"{_COLUMN}(?:gender|sex)$", ("F", "M")),
    (rf"{_COLUMN}(?:mime|content)_?type$", ("application/pdf", "image/png", "text/plain")),
    (rf"{_COLUMN}(?:courtesy|salutation)$", ("Dr.", "Mr.", "Mrs.", "Ms.")),
    (rf"{_COLUMN}(?:job|contact)_?title$|^occupation|profession$", ("Accountant", "Buyer", "Engineer", "Owner")),
    (rf"{_COLUMN}role$", ("admin", "editor", "member", "owner")),
    (rf"{_COLUMN}(?:type|kind|category|class|group|level)$", ("basic", "plus", "special", "standard")),
    (rf"{_COLUMN}version$", ("1.0", "1.1", "2.0")),
    (_CODE, "{TABLE}-{number:6}"),
    (_CODE, "{number:6}"),
)  # fmt: skip
_ANY_UNIQUE = ("{WORDS}-{number}", "{WORDS}{number}", "{number}", "a{number}", "A{number}")
_TITLE = re.compile(rf"{_COLUMN}(?:title|name|label|subject|description)")
# Whatever a check asks for, one of these may be it.
_ANY = ("a", "A", "1", "")
# Room for a key's own number, with zeros in front.
_KEY_DIGITS = 9
# A run of so many digits in a pattern has room for the row's number.
_ROOM = 3


def text_draws(wanted: Wanted) -> Iterator[Draw]:
    """Draws that suit a column of texts, the best first. The last ones fit nearly anything."""
    if wanted.is_key:
        yield from _keys(wanted)
    elif wanted.is_unique:
        yield from (draw for draw in _by_name(wanted) if draw.is_unique)
        yield from _matching(wanted)
        patterns = ("{WORDS} {number}",) if _TITLE.search(wanted.words) else ()
        yield from (templated(wanted, template) for template in (*patterns, *_ANY_UNIQUE))
        if wanted.length is not None and (wanted.length > _ROOM or wanted.is_lookup):
            yield _of_length(wanted.length)
    else:
        yield from _by_name(wanted)
        yield templated(wanted, "{WORDS}")
        yield from _matching(wanted)
        if isinstance(wanted.default, str):
            yield constant(wanted.default)
        yield from map(constant, _ANY)


def shortened(draw: Draw, length: int | None) -> Draw:
    """The same draw, cut where it is longer than a column takes."""
    if length is None or all(len(str(example)) <= length for example in draw.examples):
        return draw
    code = f"({draw.code})" if " + " in draw.code else draw.code
    cut = tuple(str(example)[:length] for example in draw.examples)
    return replace(draw, code=f"{code}.str.head({length})", examples=cut, is_unique=False)


def _by_name(wanted: Wanted) -> Iterator[Draw]:
    if wanted.words == "name" and _PEOPLE.search(words_of(wanted.table)):
        yield templated(wanted, _PERSON)
    for pattern, filling in _BY_NAME:
        if re.search(pattern, wanted.words):
            yield templated(wanted, filling) if isinstance(filling, str) else choice(wanted, filling)


def _keys(wanted: Wanted) -> Iterator[Draw]:
    """Keys have to ascend by their bytes, as numbers with leading zeros do."""
    prefix = singular(words_of(wanted.table)).replace("_", "-") + "-"
    if wanted.length is None or wanted.length >= len(prefix) + _KEY_DIGITS:
        yield templated(wanted, f"{prefix}{{number:{_KEY_DIGITS}}}")
    yield from _matching(wanted)
    yield _of_length(min(_KEY_DIGITS, wanted.length or _KEY_DIGITS))


def _of_length(width: int) -> Draw:
    """The row's number in so many digits. There are no more rows than these can count."""
    examples = tuple(f"{number:0>{width}}" for number in ("1", "9" * width))
    return Draw(f"number.str.zfill({width})", examples, frozenset(["number"]), is_unique=True)


def _matching(wanted: Wanted) -> Iterator[Draw]:
    """Texts made after the regular expression that a check asks for."""
    for pattern in wanted.limits.patterns:
        pieces = pieces_of(pattern)
        if pieces is not None and not wanted.is_unique:
            yield choice(wanted, examples_of(pieces))
        elif pieces is not None:
            yield from _numbered(pieces)


def _numbered(pieces: list[Piece]) -> Iterator[Draw]:
    """The texts of a pattern with the row's number in place of its last run of digits."""
    runs = [place for place, piece in enumerate(pieces) if piece.is_digits and (piece.times >= _ROOM or piece.is_open)]
    for place in runs[-1:]:
        width = pieces[place].times
        sides = (pieces[:place], pieces[place + 1 :])
        before, after = ("".join(piece.options[0] * piece.times for piece in side) for side in sides)
        parts = [quoted(before)] * bool(before) + [f"number.str.zfill({width})"] + [quoted(after)] * bool(after)
        examples = tuple(f"{before}{number:0>{width}}{after}" for number in ("1", "9" * width))
        yield Draw(" + ".join(parts), examples, frozenset(["number"]), is_unique=True)
