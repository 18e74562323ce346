"""Keep one comment on a pull request: create it, or replace its text. Without the right to do that, say so."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

COMMENTS = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/issues"
PAGE = 100
BOT = "github-actions[bot]"


def call(method: str, path: str, body: str | None = None) -> Any:  # noqa: ANN401 - JSON can be anything
    """What the API of GitHub answers."""
    request = urllib.request.Request(  # noqa: S310 - the runner names the address
        COMMENTS + path,
        None if body is None else json.dumps({"body": body}).encode(),
        {
            "Authorization": f"Bearer {os.environ['TOKEN']}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
        method=method,
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
        return json.load(answer)


def main(text: str, *, differs: bool) -> None:
    """Write the text. Where nothing differs, only a comment that is there already is replaced."""
    # Each project of a repository has a comment of its own.
    mark = f"<!-- snapseed diff: {os.environ['DIRECTORY']} -->\n"
    thread, number, old = f"/{os.environ['PULL_REQUEST']}/comments", 0, None
    while old is None:
        number += 1
        page = call("GET", f"{thread}?per_page={PAGE}&page={number}")
        own = (each["id"] for each in page if each["user"]["login"] == BOT and each["body"].startswith(mark.strip()))
        old = next(own, None)
        if len(page) < PAGE:
            break
    if old is not None:
        call("PATCH", f"/comments/{old}", mark + text)
    elif differs:
        call("POST", thread, mark + text)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]).read_text(encoding="utf-8"), differs=sys.argv[2] == "1")
    except (OSError, HTTPException) as exc:
        # The token of a pull request from a fork can only read: https://docs.github.com/actions/concepts/security/github_token
        is_refused = isinstance(exc, HTTPError) and exc.code == 403  # noqa: PLR2004 - Forbidden
        why = (
            "the token may not write; a fork's never may, other jobs need `pull-requests: write`" if is_refused else exc
        )
        print(f"::notice title=snapseed::no comment: {why}. The differences are in the summary of the job")
