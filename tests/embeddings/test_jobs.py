"""Jobs can be read back, whatever their keys and their form."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed.embeddings.queue import NotAJobError, decode_job, encode_jobs, job_form
from snapseed.errors import ConfigurationError

FORMS: list[dict[str, Any] | None] = [
    None,
    {"key": "{key}"},
    {"class": "Embed", "args": [1, ["{key}"], "{model}"], "retry": True, "queue": "ai"},
    {"meta": {"snapshot": "{snapshot}", "at": "{entity}/{key}"}, "task": {"ids": "{keys}"}, "note": "é {job} ☃"},
]
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def test_the_bytes_of_a_job_are_those_that_are_documented() -> None:
    """Without blanks, in this order."""
    (job,) = encode_jobs(job_form(None, ""), pl.Series(["k"]), snapshot="5" * 64, entity="letters", model="m")
    assert job == (
        b'{"job":"5555555555555555:k","snapshot":"' + b"5" * 64 + b'","entity":"letters","keys":["k"],"model":"m"}'
    )


@pytest.mark.parametrize("payload", FORMS, ids=str)
@given(keys=st.lists(texts, max_size=5))
def test_keys_come_back(payload: dict[str, Any] | None, keys: list[str]) -> None:
    """Any text that PostgreSQL holds, in any form; every job is JSON."""
    form = job_form(payload, "")
    series = pl.Series(keys, dtype=pl.String)
    jobs = encode_jobs(form, series, snapshot="abc", entity="e", model="m")
    assert [decode_job(form, job) for job in jobs] == [[key] for key in keys]
    assert all(isinstance(json.loads(job), dict) for job in jobs)


def test_all_names_are_filled_in() -> None:
    """Alone, inside a text, and inside a list."""
    payload = {"a": "{keys}", "b": "<{job}|{snapshot}|{entity}|{key}|{model}>", "c": ["{key}", 7, None], "d": 1.5}
    (job,) = encode_jobs(job_form(payload, ""), pl.Series(['"x"']), snapshot="s", entity="e", model="m")
    assert json.loads(job) == {"a": ['"x"'], "b": '<s:"x"|s|e|"x"|m>', "c": ['"x"', 7, None], "d": 1.5}


def test_several_keys_and_numbers_are_accepted() -> None:
    """An application's own jobs may hold either."""
    form = job_form(None, "")
    assert decode_job(form, b'{"keys": [1, "2", 300000000000000000000]}') == ["1", "2", "300000000000000000000"]
    assert decode_job(form, b'{"keys": "one"}') == ["one"]


@given(st.binary() | st.recursive(st.none() | st.integers() | texts, st.lists, max_leaves=5).map(json.dumps))
def test_nonsense_is_not_a_job(payload: bytes | str) -> None:
    """Whatever it is, it raises `NotAJobError` and nothing else."""
    with pytest.raises(NotAJobError):
        decode_job(job_form(None, ""), payload if isinstance(payload, bytes) else payload.encode())


@pytest.mark.parametrize("payload", [{}, {"a": "{job}"}, {"a": "x{key}"}, {"a": "{key}", "b": "{title}"}, {"a": 1}])
def test_a_form_without_keys_is_refused(payload: dict[str, Any]) -> None:
    """And so is one with an unknown name; the error says where."""
    with pytest.raises(ConfigurationError) as caught:
        job_form(payload, "here")
    assert caught.value.where == "here"
