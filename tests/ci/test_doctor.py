"""The doctor checks everything a load needs, and names what is missing."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Sandbox


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
    failing = {check["name"] for check in document["checks"] if check["error"] is not None}
    assert failing == {"snapshot": {"snapshot"}, "server": {"server"}, "nothing": set()}[broken]
