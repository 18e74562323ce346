from __future__ import annotations

from tests.docs.commands import reference
from tests.docs.pages import DOCS


def test_the_reference_of_commands_is_up_to_date() -> None:
    """docs/commands.md is what the commands generate."""
    written = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert written == reference(), "regenerate it: python -m tests.docs.commands > docs/commands.md"


def test_every_command_and_option_has_help() -> None:
    """Nothing in the reference lacks a description."""
    assert "None" not in reference()
