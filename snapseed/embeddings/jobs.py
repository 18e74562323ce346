"""Jobs as bytes: one JSON object for the texts to embed, in our own form or in an application's.

Pure: what a template says decides what is written and how it is read back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from snapseed.errors import ConfigurationError

# Our own form. Each name in braces is filled in; `{key}` and `{keys}` stand alone, so that they can be read back.
DEFAULT: Mapping[str, Any] = {
    "job": "{job}",
    "snapshot": "{snapshot}",
    "entity": "{entity}",
    "keys": "{keys}",
    "model": "{model}",
}
_NAMES = ("job", "snapshot", "entity", "key", "keys", "model")
# Letters that no text of a template holds stand in for the key, until all keys are put in at once.
_PLACE = "\ue000"
_NOT_IN_A_KEY = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class JobForm:
    """How a job is written. `path` leads to its key or keys in the parsed JSON; all else is for whoever reads it."""

    template: Mapping[str, Any]
    path: tuple[str | int, ...]


class NotAJobError(ValueError):
    """A payload from which no keys can be read."""


def job_form(payload: Mapping[str, Any] | None, where: str) -> JobForm:
    """The form that the configuration asks for. Raises `ConfigurationError` where no key could be read back."""
    template = DEFAULT if payload is None else payload
    leaves = dict(_leaves(template))
    unknown = [text for text in leaves.values() for name in _braced(text) if name not in _NAMES]
    paths = {text: path for path, text in leaves.items()}
    path = paths.get("{keys}") or paths.get("{key}")
    if path is None or unknown:
        raise ConfigurationError(
            "the payload of a job cannot be made",
            where=where,
            observed=unknown[0] if unknown else "neither '{key}' nor '{keys}' stands alone as a value",
            expected=f"texts in which {', '.join(f'{{{name}}}' for name in _NAMES)} are filled in",
        )
    return JobForm(template, path)


def encode_jobs(form: JobForm, keys: pl.Series, *, snapshot: str, entity: str, model: str) -> list[bytes]:
    """A job for each key, `keys` as text. Its id is made of the snapshot and the key, so it is always the same."""
    known = {
        "{keys}": [_PLACE],
        "{key}": _PLACE,
        "{job}": f"{snapshot[:16]}:{_PLACE}",
        "{snapshot}": snapshot,
        "{entity}": entity,
        "{model}": model,
    }
    text = json.dumps(_filled(form.template, known), ensure_ascii=False, separators=(",", ":"))
    pieces = text.split(_PLACE)
    # As JSON, without its quotation marks: the places stand between some already.
    escaped = keys.map_elements(lambda key: json.dumps(key)[1:-1], pl.String) if _is_odd(keys) else keys
    parts: list[pl.Expr] = [pl.lit(pieces[0])]
    for piece in pieces[1:]:
        parts += [pl.lit(escaped), pl.lit(piece)]
    made = pl.select(pl.concat_str(parts)).to_series() if len(keys) else pl.Series([], dtype=pl.String)
    return [job.encode() for job in made]


def decode_job(form: JobForm, payload: bytes) -> list[str]:
    """The keys of a job, as text. Raises `NotAJobError` where it holds none."""
    try:
        document = json.loads(payload)
        found = _at(document, form.path)
        keys = found if isinstance(found, list) else [found]
    except (ValueError, LookupError, TypeError, RecursionError) as exc:
        raise NotAJobError(f"no job of this queue's form: {type(exc).__name__}: {exc}") from exc
    if not keys or not all(map(_is_key, keys)):
        raise NotAJobError(f"no keys at {'.'.join(map(str, form.path))}: {found!r:.100}")
    return [str(key) for key in keys]


def _is_key(key: object) -> bool:
    """Whether it can be the key of a text: PostgreSQL takes no text with NUL, or with half a character."""
    if isinstance(key, str):
        return _NOT_IN_A_KEY.search(key) is None
    return isinstance(key, int) and not isinstance(key, bool)


def _leaves(template: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(template, str):
        yield path, template
    elif isinstance(template, Mapping):
        for name, value in template.items():
            yield from _leaves(value, (*path, name))
    elif isinstance(template, list):
        for place, value in enumerate(template):
            yield from _leaves(value, (*path, place))


def _filled(template: object, known: Mapping[str, object]) -> object:
    if isinstance(template, Mapping):
        return {name: _filled(value, known) for name, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, known) for value in template]
    if not isinstance(template, str):
        return template
    if template in known:
        return known[template]
    for name, value in known.items():
        if isinstance(value, str):
            template = template.replace(name, value)
    return template


def _braced(text: str) -> list[str]:
    return [part.partition("}")[0] for part in text.split("{")[1:]]


def _at(document: Any, path: tuple[str | int, ...]) -> Any:  # noqa: ANN401 - parsed JSON
    for name in path:
        document = document[name]
    return document


def _is_odd(keys: pl.Series) -> bool:
    """Whether a key holds what JSON escapes."""
    return bool(keys.str.contains(r'["\\\x00-\x1f]').any())
