"""Results fit the terminal: tables cut texts and never numbers, sentences break at words, a column has one unit."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from snapseed.cli.layout import Bytes, cut, paragraphs, table, width_of, wrapped
from snapseed.errors import SchemaError

NAMES = ["orders", "a_table_with_a_very_long_name_that_says_everything_about_itself", "x"]
ROWS = [[name, 1_234_567, Bytes(5_000_000 * number), "18aa", 1.5] for number, name in enumerate(NAMES, 1)]


@pytest.mark.parametrize("columns", [45, 60, 80, 200])
def test_a_table_fits(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every width, with all of its numbers, and each header over its column."""
    monkeypatch.setenv("COLUMNS", str(columns))
    head, *lines = table(["entity", "rows", "size", "fingerprint", "time"], ROWS)
    assert max(map(len, [head, *lines])) <= columns
    assert all("1,234,567" in line and "1.50 s" in line for line in lines)
    assert all(line[head.index("rows") + 3] == "7" for line in lines)
    assert ("…" in lines[1]) is (columns < 120)


@pytest.mark.parametrize("name", ["日本語の表", "注文" * 40, "🍣🍺" * 30, "naïve"])
def test_wide_characters_take_two_columns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a table, whose columns stay aligned, and where a text is cut."""
    monkeypatch.setenv("COLUMNS", "60")
    lines = table(["entity", "rows", "time"], [[name, 1_000, 1.5], ["orders", 1, 0.5]])
    assert len({cell_len(line) for line in lines}) == 1
    assert cell_len(lines[0]) <= 60
    assert cell_len(cut(name)) <= 60


def test_no_line_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence is wrapped by columns: wide characters count twice, combining ones not at all; no word is lost."""
    monkeypatch.setenv("COLUMNS", "40")
    for word in ("データ", "🐘🐘", "e\u0301te\u0301", "plain"):
        text = "   " + " ".join([word] * 40)
        lines = wrapped(text)
        assert max(map(width_of, lines)) <= 40
        assert min(width_of(line) + 1 + width_of(word) for line in lines[:-1]) > 40
        assert " ".join(line.strip() for line in lines) == text.strip()


def test_an_error_is_wrapped_and_what_can_be_copied_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each detail under its beginning; SQL and commands in backticks in one line each, whatever the width."""
    monkeypatch.setenv("COLUMNS", "60")
    sql = f"ALTER TABLE {'long_' * 12} ADD COLUMN added text;"
    command = "`snapseed load dev --recreate --yes`"
    steps = f"{'a step ' * 9}and then {command} and so on:\n{sql}\n{sql}"
    lines = paragraphs(f"error: {SchemaError('it does not fit ' * 5, observed='word ' * 30, next_step=steps)}")
    assert [line.strip() for line in lines if len(line) > 60] == [sql, sql]
    assert any(command in line for line in lines)
    assert {len(line) - len(line.lstrip()) for line in lines} == {0, 2, 4, 12}


def test_a_column_has_one_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the smallest number, but no smaller than kB; zero fits any unit."""
    monkeypatch.setenv("COLUMNS", "80")
    sizes = {
        (172_000, 2_300_000): ["172 kB", "2,300 kB"],
        (0, 5_000_000): ["0.0 MB", "5.0 MB"],
        (300, 2_000): ["0.3 kB", "2.0 kB"],
        (2_000_000_000, 3_000_000_000): ["2.0 GB", "3.0 GB"],
    }
    for counts, expected in sizes.items():
        _, *lines = table(["size"], [[Bytes(count)] for count in counts])
        assert [line.strip() for line in lines] == expected


def test_a_sentence_breaks_at_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A word that is longer than the line stays whole, so that it can be copied. Without a terminal nothing breaks."""
    monkeypatch.setenv("COLUMNS", "40")
    sentence = f"finding: {'word ' * 20}{'x' * 50} end"
    assert [line for line in wrapped(sentence) if len(line) > 40] == [f"  {'x' * 50}"]
    assert " ".join(line.strip() for line in wrapped(sentence)) == sentence
    assert 38 <= len(cut(sentence)) <= 40
    monkeypatch.delenv("COLUMNS")
    assert wrapped(sentence) == [sentence]
