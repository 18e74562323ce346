"""The JSON documents of all commands, field by field: programs rely on them, so they change only on purpose.

`documents.json` holds what the commands printed. To accept a change, run this file with `ACCEPT_DOCUMENTS=1` and look
at the difference.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Sandbox
from tests.embeddings.conftest import Post
from tests.projects.own_valkey import own_valkey

GOLDEN = Path(__file__).with_name("documents.json")
# Sentences for people: that there is one counts, not how it is worded.
SENTENCES = {"reasons", "reason", "problem", "tables", "summary", "next", "where", "error", "state", "different"}
# What depends on the machine, the server or the day.
VARYING = {
    "bytes",
    "cleared",
    "done_last_minute",
    "folder",
    "identity",
    "libraries",
    "loaded_at",
    "oldest_seconds",
    "peak_memory_bytes",
    "postgres",
    "redis",
    "replaced",
    "role",
    "saved_at",
    "server",
    "settings",
    "sides",
    "size",
    "source",
    "target",
    "template",
    "url",
    "version",
}
# Seconds by name: the names count.
TIMES = {"phases", "steps"}


def shape(value: object, key: str = "") -> object:
    """A document without what changes from run to run, and without the wording of sentences."""
    match value:
        case dict() if key in TIMES:
            return sorted(value)
        case _ if key in VARYING or isinstance(value, float):
            return None if value is None else f"<{type(value).__name__}>"
        case dict():
            return {name: shape(item, name) for name, item in value.items()}
        case list() if key in SENTENCES:
            return ["…"] * bool(value)
        case list():
            return [shape(item, key) for item in value]
    return "…" if key in SENTENCES | {"found", "observed", "expected"} and isinstance(value, str) else value


def documents(shop: Sandbox, post: Post) -> Iterator[tuple[str, object]]:
    """The document of each command, by a name; in an order in which each finds what it needs."""

    def run(sandbox: Sandbox, *arguments: str) -> tuple[str, object]:
        redis = post.redis_url if sandbox is post.sandbox else "embedded"
        done = sandbox.run(*arguments, "--format", "json", SNAPSEED_REDIS=redis, SNAPSEED_SOURCE=sandbox.url)
        return " ".join([sandbox.folder.name, *arguments]), {
            "exit_code": done.returncode,
            "stdout": json.loads(done.stdout),
        }

    yield run(shop, "generate", "--jobs", "1")
    yield run(shop, "generate", "--check", "--jobs", "1")
    yield run(shop, "show", "dev", "orders", "--rows", "1")
    yield run(shop, "report", "dev", "--output", "page.html")
    yield run(shop, "doctor")
    yield run(shop, "doctor", "--snapshot", "none")
    yield run(shop, "load", "dev", "--dry-run")
    yield run(shop, "load", "dev")
    yield run(shop, "load", "dev", "--if-changed")
    yield run(shop, "load", "dev", "--only", "orders", "--with-children")
    yield run(shop, "load", "dev", "--mode", "upsert", "--only", "categories")
    yield run(shop, "ci", "--retries", "0")
    yield run(shop, "ci", "--retries", "0", "--snapshot", "none")
    yield run(shop, "verify")
    rows = ("capture", "dev", "--snapshot", "copy", "--unmasked", "--without-schema")
    yield run(shop, *rows, "--only", "categories,notes")
    yield run(shop, *rows, "--root", "categories", "--rows", "2")
    yield run(shop, "diff", "dev")
    yield run(shop, "status")
    yield run(shop, "db", "url")
    yield run(shop, "db", "start")
    yield run(shop, "db", "stop")
    yield run(shop, "load", "nowhere")
    yield run(shop, "load", "")
    with shop.connect() as connection:
        connection.execute("UPDATE notes SET number = 9 WHERE id = 3; DELETE FROM notes WHERE id = 4")
        connection.execute("INSERT INTO categories VALUES ('mine', 'precious', 1); DROP TABLE shops CASCADE")
    yield run(shop, "verify", "--only", "notes,shops")
    yield run(shop, "diff", "dev", "--only", "categories,notes,shops")
    (shop.folder / "snapshots/dev/stray").write_text("")
    for command in (["init", "-q"], ["add", "snapshots/dev/manifest.json", "snapshots/dev/orders"]):
        subprocess.run(["git", *command], cwd=shop.folder, check=True)  # noqa: S607 - on every machine with a checkout
    yield run(shop, "verify", "--committed")
    post.keep_content()
    yield run(post.sandbox, "load", "dev")
    yield run(post.sandbox, "queue", "status", "dev")
    post.put(b"nonsense")
    post.drain()
    yield run(post.sandbox, "queue", "status", "dev", "--yes")
    yield run(post.sandbox, "search", "dev", "a letter", "--limit", "1")
    yield run(post.sandbox, "reset", "dev")
    yield run(post.sandbox, "save", "dev", "one")
    yield run(post.sandbox, "reset", "dev", "one", "--yes")
    yield run(post.sandbox, "states", "dev")
    yield run(post.sandbox, "states", "dev", "--delete", "one")
    yield run(post.sandbox, "ci", "dev")


@pytest.fixture
def post(make_generated: Callable[[str], Sandbox]) -> Iterator[Post]:
    """Letters, generated and not yet loaded, with workers of their own in `ci`."""
    with own_valkey() as valkey:
        sandbox = make_generated("letters")
        file = sandbox.folder / "snapseed.toml"
        file.write_text(file.read_text() + "workers = 1\n")
        yield Post(sandbox, valkey.url)


def test_the_documents_of_all_commands_are_as_they_were(shop: Sandbox, post: Post) -> None:
    """The same fields in the same order, and the same values unless they depend on the machine."""
    found = {name: shape(document) for name, document in documents(shop, post)}
    if os.environ.get("ACCEPT_DOCUMENTS"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    expected = json.loads(GOLDEN.read_text())
    assert list(found) == list(expected)
    for name, document in expected.items():
        assert found[name] == document, name
        assert json.dumps(found[name]) == json.dumps(document), f"{name}: the order of the fields"
