"""Results fit the terminal: tables cut texts and never numbers, sentences break at words, a column has one unit."""

from __future__ import annotations

import pytest

from snapseed.cli.text import Bytes, cut, table, wrapped

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
    assert len(cut(sentence)) == 40
    monkeypatch.delenv("COLUMNS")
    assert wrapped(sentence) == [sentence]
