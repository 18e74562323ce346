"""The comment on a pull request: one per project, replaced by each push, and none without the right to write."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.docs.pages import ROOT
from tests.workflows.conftest import Thread


def comment(thread: Thread, text: str, *, differs: bool = True, directory: str = ".") -> str:
    """Run the script; what it says."""
    command = [sys.executable, str(ROOT / ".github/comment.py"), "/dev/stdin", str(int(differs))]
    environment = {"PATH": os.environ["PATH"], "DIRECTORY": directory, "PULL_REQUEST": "7", **thread.variables}
    done = subprocess.run(command, input=text, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_one_comment_is_kept(thread: Thread) -> None:
    """Others are left alone, also where they fill pages; another project of the repository has its own."""
    for number in range(150):
        thread.add("somebody", f"<!-- snapseed diff: . -->\n{number}")
    comment(thread, "first")
    comment(thread, "second")
    comment(thread, "of another", directory="below")
    comment(thread, "no difference", differs=False)
    assert [str(each["body"]).splitlines()[-1] for each in thread.comments[150:]] == ["no difference", "of another"]
    assert thread.comments[0]["body"] == "<!-- snapseed diff: . -->\n0"


def test_nothing_to_say_is_no_comment(thread: Thread) -> None:
    """Where nothing differs and nothing did before."""
    assert comment(thread, "no difference", differs=False) == ""
    assert thread.calls == []


def test_a_fork_gets_no_comment(thread: Thread) -> None:
    """Its token can only read: the script says so and does not fail."""
    thread.writable = False
    assert "::notice" in comment(thread, "text")
    assert thread.comments == []


def test_without_github_the_job_goes_on(thread: Thread) -> None:
    """What ends the connection, or cannot be reached, is no failure of the job."""
    thread.port = 1
    assert "::notice" in comment(thread, "text")
