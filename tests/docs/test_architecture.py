from __future__ import annotations

from tests.docs.modules import PAGE, with_table


def test_the_architecture_page_names_every_module() -> None:
    """The table of modules in docs/architecture.md is made of the docstrings as they are now."""
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page), "run: python -m tests.docs.modules"
