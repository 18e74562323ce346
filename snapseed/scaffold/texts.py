"""Draws of texts, by the name of their column: names, addresses, links, codes. Unique ones carry their row's number."""

from __future__ import annotations

import re
from collections.abc import Iterator

from snapseed.scaffold.draws import Draw, Wanted, choice, constant, quoted
from snapseed.scaffold.naming import singular, words_of
from snapseed.scaffold.sampling import examples_of, pieces_of
from snapseed.scaffold.vocabulary import CODES, WORDS

# What a row's number may look like, for examples of texts that it stands in.
_NUMBERS = ("1", "42", "1234567")
_LISTS = (
    (r"(?:^|_)(?:first|given|middle)_?name|^forename", "FIRST_NAMES"),
    (r"(?:^|_)(?:last|family)_?name|^surname", "LAST_NAMES"),
    (r"(?:^|_)(?:city|town|birthplace)(?:_name)?$", "CITIES"),
    (r"(?:^|_)(?:state|province|region|district|county|area)(?:_name)?$", "CITIES"),
    (r"(?:^|_)(?:country|nation|nationality)(?:_name)?$", "COUNTRIES"),
    (r"(?:^|_)(?:company|employer|organi[sz]ation|vendor|supplier|brand|manufacturer|publisher)(?:_?name)?$", "COMPANIES"),
    (r"(?:^|_)(?:description|summary|notes?|comments?|remarks?|bio|about|body|content|message|text|review|details?|reason|"
     r"excerpt|overview|abstract|caption|quote|feedback|instructions?)$", "SENTENCES"),
)  # fmt: skip
_CHOICES: tuple[tuple[str, tuple[object, ...]], ...] = (
    (r"(?:^|_)status$|(?:^|_)state$|(?:^|_)stage$", ("active", "closed", "new", "waiting")),
    (r"(?:^|_)currency(?:_code)?$", ("CHF", "EUR", "GBP", "JPY", "USD")),
    (r"(?:^|_)(?:language|lang)(?:_code)?$", ("de", "en", "es", "fr", "ja")),
    (r"(?:^|_)locale$", ("de_DE", "en_US", "es_ES", "fr_FR", "ja_JP")),
    (r"(?:^|_)(?:time_?zone|tz)$", ("America/New_York", "Asia/Tokyo", "Europe/Berlin", "UTC")),
    (r"(?:^|_)country(?:_code)?$|(?:^|_)nation", CODES),
    (r"(?:^|_)(?:state|province|region)(?:_code)?$", ("CA", "FL", "NY", "OR", "TX", "WA")),
    (r"(?:^|_)colou?r$", ("black", "blue", "green", "red", "white")),
    (r"(?:^|_)(?:gender|sex)$", ("female", "male", "other")),
    (r"(?:^|_)(?:gender|sex)$", ("F", "M")),
    (r"(?:^|_)(?:mime|content)_?type$", ("application/pdf", "image/png", "text/plain")),
    (r"(?:^|_)courtesy|salutation$", ("Dr.", "Mr.", "Mrs.", "Ms.")),
    (r"(?:^|_)(?:job|contact|professional)_?title$|^occupation|profession$", ("Accountant", "Buyer", "Engineer", "Manager", "Owner")),
    (r"(?:^|_)role$", ("admin", "editor", "member", "owner")),
    (r"(?:^|_)(?:type|kind|category|class|group|level)$", ("basic", "plus", "special", "standard")),
    (r"(?:^|_)version$", ("1.0", "1.1", "2.0")),
)  # fmt: skip
_HEX = r"(?:^|_)(?:token|hash|digest|password|passwd|secret|checksum|signature|sha\d+|md5|api_?key|session)(?:_|$)"


def text_draws(wanted: Wanted) -> Iterator[Draw]:
    """Draws that suit a column of texts, the best first. The last ones fit nearly anything."""
    if wanted.is_key:
        yield from _keys(wanted)
    if not wanted.is_unique:
        yield from _repeated(wanted)
    yield from _numbered(wanted)
    yield from _matching(wanted)
    if isinstance(wanted.default, str) and not wanted.is_unique:
        yield constant(wanted.default)
    if not wanted.is_unique:
        for option in ("a", "A", "1", ""):
            yield constant(option)


def shortened(draw: Draw, length: int | None) -> Draw:
    """The same draw, cut where it is longer than a column takes."""
    if length is None or all(len(str(example)) <= length for example in draw.examples):
        return draw
    cut = tuple(str(example)[:length] for example in draw.examples)
    return Draw(f"{draw.code}.str.head({length})", cut, draw.needs, draw.is_unique)


def _repeated(wanted: Wanted) -> Iterator[Draw]:
    """Texts that may come again."""
    name = wanted.words
    if (
        re.search(r"(?:^|_)(?:street|address(?:_?(?:line)?_?\d*)?|addr\d?)$", name)
        and "mail" not in name
        and "ip_" not in name
    ):
        streets = f"{wanted.rows}.choice({quoted(wanted.column.name + ' street')}, STREETS)"
        code = f'{wanted.rows}.integers({wanted.draw}, 1, 250).cast(pl.String) + " " + {streets}'
        yield Draw(
            code,
            tuple(f"{number} {street}" for street in WORDS["STREETS"] for number in (1, 250)),
            frozenset(["words:STREETS"]),
        )
    if re.search(
        r"(?:^|_)(?:full|contact|customer|display|person|author|owner|employee|holder|recipient|ship)_?name$", name
    ) or (
        name == "name"
        and re.search(r"person|people|customer|user|author|actor|artist|employee|player|member", words_of(wanted.table))
    ):
        yield _full_name(wanted)
    if re.search(r"(?:^|_)(?:initials?|mi)$", name):
        yield choice(wanted, ("A", "B", "C", "D", "E", "J", "K", "L", "M"))
    for pattern, listed in _LISTS:
        if re.search(pattern, name):
            yield choice(wanted, WORDS[listed], listed)
    for pattern, options in _CHOICES:
        if re.search(pattern, name):
            yield choice(wanted, options)
    if re.search(r"(?:^|_)(?:zip|zip_?code|postal|postal_?code|postcode)$", name):
        yield Draw(
            f"{wanted.rows}.integers({wanted.draw}, 10_000, 99_999).cast(pl.String)", ("10000", "54321", "99999")
        )
    if re.search(r"(?:^|_)(?:phone|fax|mobile|cell|tel|telephone)", name):
        code = f'"+1 555 " + {wanted.rows}.integers({wanted.draw}, 1_000_000, 9_999_999).cast(pl.String)'
        yield Draw(code, ("+1 555 1000000", "+1 555 9999999"))
        yield Draw(f"{wanted.rows}.integers({wanted.draw}, 10_000, 99_999).cast(pl.String)", ("10000", "99999"))
    if re.search(
        _HEX + r"|mail|user_?name|login|nick|url|uri|link|href|web|image|photo|avatar|slug|(?:^|_)ip|path|file", name
    ):
        return
    if not wanted.is_unique:
        yield choice(wanted, WORDS["WORDS"], "WORDS")
        if wanted.length is not None:
            yield shortened(choice(wanted, WORDS["WORDS"], "WORDS"), wanted.length)


def _full_name(wanted: Wanted) -> Draw:
    first = f"{wanted.rows}.choice({quoted(wanted.column.name + ' first')}, FIRST_NAMES)"
    last = f"{wanted.rows}.choice({quoted(wanted.column.name + ' last')}, LAST_NAMES)"
    names = tuple(
        f"{one} {other}" for one, other in zip(WORDS["FIRST_NAMES"], reversed(WORDS["LAST_NAMES"]), strict=False)
    )
    return Draw(f'{first} + " " + {last}', names, frozenset(["words:FIRST_NAMES", "words:LAST_NAMES"]))


def _numbered(wanted: Wanted) -> Iterator[Draw]:
    """Texts with the number of their row in them, so that none comes twice."""
    name = wanted.words
    word = f"{wanted.rows}.choice({wanted.draw}, WORDS)"

    def numbered(code: str, pattern: str, *needs: str) -> Draw:
        examples = tuple(pattern.format(word=one, number=number) for one in WORDS["WORDS"][::9] for number in _NUMBERS)
        return Draw(code, examples, frozenset(["number", *needs]), is_unique=True)

    if "mail" in name:
        if wanted.table:
            person = '{first_name}.str.to_lowercase() + "." + {last_name}.str.to_lowercase()'
            address = "priya.dubois{number}@example.com"
            yield numbered(f'{person} + number + "@example.com"', address, "first_name", "last_name")
        yield numbered(f'{word} + number + "@example.com"', "{word}{number}@example.com", "words:WORDS")
        yield numbered('number + "@a.io"', "{number}@a.io")
    if re.search(r"(?:url|uri|link|href|website|homepage|web)(?:_|$)", name):
        yield numbered(
            f'"https://example.com/" + {word} + "-" + number', "https://example.com/{word}-{number}", "words:WORDS"
        )
    if re.search(r"image|photo|avatar|picture|thumbnail", name):
        yield numbered('"https://example.com/" + number + ".png"', "https://example.com/{number}.png")
    if re.search(r"path|file", name):
        yield numbered(f'"/" + {word} + "/" + number + ".txt"', "/{word}/{number}.txt", "words:WORDS")
    if re.search(r"(?:^|_)(?:domain|host|hostname|subdomain)$", name):
        yield numbered(f'{word} + number + ".example.com"', "{word}{number}.example.com", "words:WORDS")
    if re.search(r"(?:^|_)ip(?:_|$|v4)", name):
        yield Draw(
            f'"10.0.0." + {wanted.rows}.integers({wanted.draw}, 1, 254).cast(pl.String)', ("10.0.0.1", "10.0.0.254")
        )
    if re.search(r"user_?name|login|nick|handle|screen_?name|account_?name", name):
        yield numbered(f"{word} + number", "{word}{number}", "words:WORDS")
    if re.search(r"slug|permalink", name):
        yield numbered(f'{word} + "-" + number', "{word}-{number}", "words:WORDS")
    if re.search(_HEX, name):
        yield numbered("number.str.zfill(32)", "{number:0>32}")
    if re.search(
        r"(?:^|_)(?:sku|code|ref|reference|no|nr|serial|barcode|number|external_id|isbn|uid|key|tag)(?:_|$)|(?:_id|number|code)$",
        name,
    ):
        prefix = singular(words_of(wanted.table))[:3].upper() or "A"
        yield numbered(f'"{prefix}-" + number.str.zfill(6)', prefix + "-{number:0>6}")
        yield numbered("number.str.zfill(6)", "{number:0>6}")
    if re.search(r"phone|fax|mobile|tel", name):
        yield numbered('"+1555" + number.str.zfill(7)', "+1555{number:0>7}")
    if wanted.is_unique:
        if re.search(r"(?:^|_)(?:title|name|label|subject|description)", name):
            yield numbered(f'{word} + " " + number', "{word} {number}", "words:WORDS")
        yield numbered(f'{word} + "-" + number', "{word}-{number}", "words:WORDS")
        yield numbered(f"{word} + number", "{word}{number}", "words:WORDS")
        yield numbered("number", "{number}")
        for letter in ("a", "A"):
            yield numbered(f'"{letter}" + number', letter + "{number}")
        if wanted.length is not None:
            yield _of_length(wanted.length)


def _keys(wanted: Wanted) -> Iterator[Draw]:
    """Keys have to ascend by their bytes, as numbers with leading zeros do."""
    width = min(9, wanted.length or 9)
    prefix = singular(words_of(wanted.table)).replace("_", "-") + "-"
    needs = frozenset(["number"])
    if wanted.length is None or wanted.length >= len(prefix) + 9:
        examples = tuple(f"{prefix}{number:0>9}" for number in _NUMBERS)
        yield Draw(f"{quoted(prefix)} + number.str.zfill(9)", examples, needs, is_unique=True)
    yield from _matching(wanted)
    yield _of_length(width)


def _of_length(width: int) -> Draw:
    numbers = ("1", "42"[:width], "9" * width)
    examples = tuple(f"{number:0>{width}}" for number in numbers)
    return Draw(f"number.str.zfill({width})", examples, frozenset(["number"]), is_unique=True)


def _matching(wanted: Wanted) -> Iterator[Draw]:
    """Texts made after the regular expression that a check asks for."""
    for pattern in wanted.limits.patterns:
        pieces = pieces_of(pattern)
        if pieces is None:
            continue
        texts = examples_of(pieces)
        digits = [place for place, piece in enumerate(pieces) if piece.is_digits and (piece.times > 2 or piece.is_open)]
        if wanted.is_unique and digits:
            place = digits[-1]
            width = pieces[place].times
            before, after = (
                "".join((piece.options[0] * piece.times) for piece in part)
                for part in (pieces[:place], pieces[place + 1 :])
            )
            parts = [quoted(before)] * bool(before) + [f"number.str.zfill({width})"] + [quoted(after)] * bool(after)
            examples = tuple(f"{before}{number:0>{width}}{after}" for number in ("1", "42", "9" * width))
            yield Draw(" + ".join(parts), examples, frozenset(["number"]), is_unique=True)
        elif not wanted.is_unique:
            yield choice(wanted, texts)
