"""Draws of dates and times. What happens later in a row is drawn from what happened before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from snapseed.scaffold.draws import Draw, Wanted
from snapseed.scaffold.limits import Bound
from snapseed.snapshot.types import ColumnType, Family

MOMENTS = {Family.DATE, Family.TIMESTAMP, Family.TIMESTAMPTZ}
_BORN = re.compile(r"(?:^|_)(?:birth|born|dob)")
_FUTURE = re.compile(r"(?:^|_)(?:expir|due|valid_(?:to|until)|renew|scheduled|deadline)")
# What comes after other moments of the same row.
_LATER = re.compile(
    r"(?:^|_)(?:accepted|answered|approved|archived|arriv\w*|cancel\w*|changed|clos\w*|complet\w*|confirmed|deleted|"
    r"deliver\w*|departed|due|end\w*|expir\w*|finish\w*|last|left|modified|paid|processed|publish\w*|read|received|"
    r"refund\w*|reject\w*|released|removed|requir\w*|resolv\w*|respon\w*|return\w*|seen|sent|ship\w*|stop\w*|termin\w*|"
    r"to|until|updat\w*|valid_to|verified|finali[sz]ed)(?:_|$)"
)
_YEAR = timedelta(days=365)


def is_later(name: str) -> bool:
    """Whether a moment of this name comes after the others of its row."""
    return _LATER.search(name) is not None and not _BORN.search(name)


def is_ahead(name: str) -> bool:
    """Whether a moment of this name lies ahead of the project's `now`."""
    return _FUTURE.search(name) is not None


def is_birth(name: str) -> bool:
    """Whether it is a date of birth, which nothing of the row comes before."""
    return _BORN.search(name) is not None


def moment_draws(wanted: Wanted, after: tuple[str, str] | None = None) -> Iterator[Draw]:
    """Moments up to the project's `now`, or within their limits; `after` are expressions for the first and the last.

    The second may be empty, for `now`. Drawn are moments in UTC; `finish` makes the column's type of them.
    """
    name, now = wanted.words, wanted.now
    if wanted.is_unique and wanted.kind.family is Family.DATE:
        yield _own_day(wanted)
        return
    low, high = _limit(wanted.limits.low, 1), _limit(wanted.limits.high, -1)
    start, end = "rows.now - timedelta(days=730)", ""
    first, last = now - 2 * _YEAR, now
    if _BORN.search(name):
        start, end = "rows.now - timedelta(days=29_200)", "rows.now - timedelta(days=6_570)"
        first, last = now - 80 * _YEAR, now - 18 * _YEAR
    elif _FUTURE.search(name) and after is None:
        start, end = "rows.now", "rows.now + timedelta(days=365)"
        first, last = now, now + _YEAR
    if low is not None and (low > first or (high is not None and high < first)):
        start, first = _code(low), low
    if high is not None and (high < last or (low is not None and low > last)):
        end, last = _code(high), high
        if first > last:
            start, first = f"{_code(high)} - timedelta(days=365)", high - _YEAR
    elif low is not None and low > last:
        end, last = f"{_code(low)} + timedelta(days=365)", low + _YEAR
    if after is not None:
        start, end = after
        end = end or (f"{start} + timedelta(days=30)" if wanted.is_unique else "")
    before = None
    needs = {name for name in ("timedelta", "datetime") if f"{name}(" in start + end}
    code = f"{wanted.rows}.timestamps({wanted.draw}, {start}{', ' + end if end else ''})"
    if wanted.is_unique:
        # An hour that may come again, and in it a microsecond that does not.
        end = end or "rows.now - timedelta(days=1)"
        hour = f'rows.timestamps({wanted.draw}, {start}, {end}).dt.truncate("1h")'
        code = '{local} + rows.number().cast(pl.Duration("us"))'
        needs.add("timedelta")
        before = ("hour", hour)
    kind = wanted.kind.element or wanted.kind
    yield Draw(code, (first, last), frozenset(needs), wanted.is_unique, finish=finish_of(kind), before=before)


def _own_day(wanted: Wanted) -> Draw:
    """A day for each row: the days from a limit on, or up to one."""
    high = _limit(wanted.limits.high, -1)
    low = _limit(wanted.limits.low, 1) or datetime(2000, 1, 1, tzinfo=UTC)
    backwards = high is not None and wanted.limits.low is None
    first = ((high if backwards and high is not None else low) - datetime(1970, 1, 1, tzinfo=UTC)).days
    code = f"({first:_} - rows.number())" if backwards else f"({first:_} + rows.number())"
    last = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=first - 1 if backwards else first + 1)
    return Draw(f"{code}.cast(pl.Int32).cast(pl.Date)", (last,), is_unique=True)


def time_draws(wanted: Wanted) -> Iterator[Draw]:
    """Times of day, to the second."""
    start = "rows.now - timedelta(days=1)"
    code = f"{wanted.rows}.timestamps({wanted.draw}, {start})"
    yield Draw(code, (), frozenset(["timedelta"]), finish='.dt.truncate("1s").dt.time()')


def finish_of(kind: ColumnType) -> str:
    """What makes the type of a moment in UTC: a date, or one without a time zone, with as many digits as it keeps."""
    if kind.family is Family.DATE:
        return ".dt.date()"
    digits = kind.modifiers[0] if kind.modifiers else 6
    truncated = "" if digits == 6 else '.dt.truncate("1ms")' if digits >= 3 else '.dt.truncate("1s")'  # noqa: PLR2004
    return truncated + (".dt.replace_time_zone(None)" if kind.family is Family.TIMESTAMP else "")


def _limit(bound: Bound | None, direction: int) -> datetime | None:
    """The outermost moment that is allowed, a whole day further in, so that dates keep to it as well."""
    if bound is None or not isinstance(bound.value, datetime):
        return None
    inwards = timedelta(days=1) if direction > 0 and bound.strict else timedelta(0)
    outwards = timedelta(seconds=1) if direction < 0 and bound.strict else timedelta(0)
    return bound.value + inwards - outwards


def _code(moment: datetime) -> str:
    parts = [moment.year, moment.month, moment.day]
    if moment.hour or moment.minute or moment.second:
        parts += [moment.hour, moment.minute] + [moment.second] * bool(moment.second)
    return f"datetime({', '.join(map(str, parts))}, tzinfo=UTC)"
