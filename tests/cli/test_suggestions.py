"""What an unknown option suggests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Sandbox


@pytest.mark.parametrize(
    ("option", "suggested"),
    [("--jbs", None), ("--yess", None), ("--recreat", None), ("--dry-rn", "--dry-run"), ("--env", "snapseed load dev")],
)
def test_a_typing_error_suggests_nothing_dangerous(option: str, suggested: str | None, tmp_path: Path) -> None:
    """Neither consent nor the loss of anything; and the environment is no option."""
    shown = Sandbox(tmp_path, "").run("load", option, "dev")
    assert shown.returncode == 2
    assert ("did you mean" in shown.stderr) == (suggested == "--dry-run")
    assert suggested is None or suggested in shown.stderr
