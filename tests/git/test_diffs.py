"""`git diff`, `git log -p` and `git show` print the rows of committed snapshots that differ, and never stop."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from snapseed.cli.differences import as_markdown
from snapseed.config import find_project
from snapseed.diff.compare import compare
from snapseed.diff.sides import commit_side
from snapseed.git.drivers import set_up, text_of
from snapseed.snapshot.keys import as_text
from snapseed.snapshot.manifest import LFS_POINTER
from snapseed.snapshot.store import open_snapshot
from tests.conftest import Sandbox, copied
from tests.forged import write_file
from tests.git.conftest import Repository
from tests.projects.state import generated


def changes(shown: str) -> list[str]:
    """The lines of a diff that were added or removed, and the rows that they belong to."""
    lines = [
        line.rpartition("@@")[2].strip() if line.startswith("@@") else line
        for line in shown.splitlines()
        if not line.startswith(("+++", "---", " "))
    ]
    return [line for line in lines if line.startswith(("+", "-", "id ")) or "Binary" in line]


def test_a_changed_generator_shows_as_rows(small_chunks: Path, tmp_path: Path) -> None:
    """Before the commit, in the log, and of the commit; the row stands above its difference."""
    sandbox = Sandbox(copied(small_chunks, tmp_path), "")
    repository = Repository(sandbox.folder, sandbox.folder)
    repository.git("init", "--quiet")
    set_up(sandbox.project)
    repository.commit()
    file = sandbox.folder / "generators" / "shop.py"
    text, wrong = file.read_text(), "rows.positions.cast(pl.Int32)"
    file.write_text(text.replace(wrong, "(rows.positions + (rows.key() == 333).cast(int) * 7).cast(pl.Int32)"))
    generated(sandbox, chunk_rows=40)
    expected = ["-  number '0'", "+  number '7'"]
    shown = repository.git("diff", "--", "*.parquet").stdout
    assert changes(shown)[-3:] == ["id '332'", *expected]
    assert " id '333'\n" in shown
    repository.commit()
    for command in (["log", "-p", "-1"], ["show"]):
        assert changes(repository.git(*command).stdout)[-2:] == expected
    assert "Bin " in repository.git("show", "--stat").stdout


def test_rows_that_come_and_go(repository: Repository) -> None:
    """A part that is new, and one that is gone while the other gets another name."""
    for entities in (
        {"users": [["Ada"]], "orders": [["one"], ["two"], ["three"]]},
        {"users": [["Ada"]], "orders": [["one"]]},
    ):
        repository.write(**entities)
        repository.commit()
    shown = repository.git("log", "-p", "-2", "--format=", "--", "*.parquet").stdout
    assert changes(shown) == [
        *("-id '200'", "-  text 'two'", "-id '300'", "-  text 'three'"),
        *("+id '300'", "+  text 'three'", "-id '101'", "-  text 'Bruno'"),
    ]
    assert "rename to the project/snapshots/ci/orders.parquet" in shown


def test_every_kind_of_clone(repository: Repository) -> None:
    """A worktree and a clone that was set up, also a shallow one, show rows; others say that files differ."""
    repository.write(users=[["Ada"]], orders=[["one"], ["two"]])
    repository.commit()
    places = {name: repository.root.parent / name for name in ("tree", "bare", "shallow")}
    repository.git("worktree", "add", "--quiet", str(places["tree"]))
    for name, options in (("bare", ["--bare"]), ("shallow", ["--depth=1"])):
        repository.git("clone", "--quiet", *options, f"file://{repository.root}", str(places[name]))
    show = ("show", "--format=", "--", "*users.parquet")
    assert changes(repository.git(*show, folder=places["tree"]).stdout) == ["-id '101'", "-  text 'Bruno'"]
    for name in ("bare", "shallow"):
        assert "Binary files" in repository.git(*show, folder=places[name]).stdout
    set_up(find_project(places["shallow"] / "the project"))
    assert changes(repository.git(*show, folder=places["shallow"]).stdout) == ["+id '100'", "+  text 'Ada'"]


def test_values_read_as_snapseed_diff_shows_them(generated_once: Callable[[str], Path]) -> None:
    """Of every type, although the file does not name it; a text never means something to the terminal."""
    snapshot = open_snapshot(generated_once("kinds") / "snapshots", "dev")
    (record,) = (each for each in snapshot.manifest.entities if each.name == "kinds")
    file = record.files[0]
    shown = "".join(text_of(Path(snapshot.path(file)))).splitlines()
    with snapshot.open_part(record, file) as part:
        (rows,) = part.batches(0, [column.name for column in record.columns])
    expected = []
    for at in range(len(rows)):
        texts = [as_text(values[at], kind) for values, kind in zip(rows.columns, record.kinds, strict=True)]
        expected += [
            f"{'  ' * (number > 0)}{column.name} {'NULL' if text is None else repr(text)}"
            for number, (column, text) in enumerate(zip(record.columns, texts, strict=True))
        ]
    assert shown == expected


def test_git_does_not_stop(repository: Repository) -> None:
    """At a file that is damaged or a pointer, or without snapseed: it says that the file differs."""
    file = repository.project / "snapshots" / "ci" / "users.parquet"
    pointer = LFS_POINTER + b"/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 7\n"
    for data, said in ((b"PAR1" + bytes(40), "cannot be read"), (pointer, "")):
        file.write_bytes(data)
        shown = repository.git("diff")
        assert said in shown.stderr
        assert ("+size 7" in shown.stdout) == (data == pointer)
        assert shown.stdout.count("\n+") > 1
    repository.git("config", "diff.snapseed.textconv", 'f() { /nowhere/python text "$1" || cksum <"$1"; }; f')
    assert "@@ -1 +1 @@" in repository.git("diff").stdout
    set_up(find_project(repository.project), undo=True)
    assert "Binary files" in repository.git("diff").stdout


def test_large_files_show_their_chunks(tmp_path: Path) -> None:
    """The text of millions of rows would be too much for git: each chunk has a line, which differs if a row does."""
    values = pa.array([[0.5, float(number)] for number in range(9000)], pa.list_(pa.float32(), 2))
    table = pa.table({"id": pa.array(range(9000)), "vector": values})
    write_file(tmp_path / "a.parquet", table)
    assert len(list(text_of(tmp_path / "a.parquet", most_values=100))) == 2
    whole = list(text_of(tmp_path / "a.parquet"))
    assert len(set(whole)) == len(whole) == 9000
    assert max(map(len, whole)) < 60


def test_all_snapshots_of_two_commits_are_compared(repository: Repository) -> None:
    """With names that say which snapshot; what only one has is a difference. A comment is never too long for GitHub."""
    before = repository.git("rev-parse", "HEAD").stdout.strip()
    repository.write(users=[["Ada", "Emeka"]], extra=[["one"]])
    repository.commit()
    project = find_project(repository.project)
    told = Sandbox(repository.project, "").run("diff", f"{before}..HEAD")
    assert (told.returncode, "Emeka" in told.stdout, "--repair" in told.stdout) == (1, True, False)
    report = compare(commit_side(project, before), commit_side(project, "HEAD"))
    assert {each.entity: each.changed_count for each in report.entities} == {"ci/users": 1}
    assert {(each.entity, each.left, each.right) for each in report.schema} == {
        ("ci/orders", "a table", None),
        ("ci/extra", None, "a table"),
    }
    whole = as_markdown(report)
    assert "Emeka" in whole
    lines = len(re.findall(r"\n(\||-) <code>", whole))
    for most in range(400, len(whole), 20):
        shown = as_markdown(report, most)
        assert len(shown) <= most
        assert shown.count("<details>") == shown.count("</details>")
        assert len(re.findall(r"\n(\||-) <code>", shown)) + int(re.findall(r"no room for (\d+)", shown)[0]) == lines
