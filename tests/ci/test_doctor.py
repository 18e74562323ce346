"""The doctor checks everything a load needs, and names what is missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest

from snapseed.ci.doctor import examine
from tests.conftest import Sandbox
from tests.embeddings.conftest import Post
from tests.projects.own_valkey import own_valkey


@pytest.mark.parametrize("broken", ["snapshot", "server", "nothing"])
def test_the_doctor_names_what_is_missing(shop: Sandbox, broken: str) -> None:
    """Exit code 1 and the failing check if something is missing, otherwise 0."""
    options = {
        "snapshot": ["--snapshot", "none"],
        "server": ["--database", "postgresql://127.0.0.1:1/none"],
        "nothing": [],
    }[broken]
    result = shop.run("doctor", "--format", "json", *options)
    document = json.loads(result.stdout)
    assert document["ready"] == (broken == "nothing")
    assert result.returncode == (0 if broken == "nothing" else 1)
    skipped = {check["name"] for check in document["checks"] if check["skipped"]}
    assert skipped == {"snapshot": {"files", "load plan"}, "server": {"load plan"}, "nothing": set()}[broken]
    failing = {check["name"] for check in document["checks"] if check["error"] is not None}
    assert failing == {"snapshot": {"snapshot"}, "server": {"server"}, "nothing": set()}[broken]


@pytest.mark.parametrize("broken", ["", "server", "client"])
def test_the_doctor_checks_the_queue_of_a_load_that_needs_one(
    make_generated: Callable[[str], Sandbox], broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that does not answer, or a client that is not installed, is a problem. Otherwise the queue is fine."""
    with own_valkey() as valkey:
        post = Post(make_generated("letters"), "redis://127.0.0.1:1" if broken == "server" else valkey.url)
        if broken == "client":
            monkeypatch.setitem(sys.modules, "redis", None)
        found = list(examine(post.sandbox.project, post.environment()))
    assert [each.name for each in found if each.error] == (["queue"] if broken else [])
    assert [each.name for each in found][-1] == "queue"
