"""Progress from the events of a run: nothing at first, then lines now and then, and no line that nobody asked for."""

from __future__ import annotations

import pytest

from snapseed.cli.progress import Meter
from snapseed.events import Advanced, Event, Note, PhaseEnded, PhaseStarted
from tests.projects.state import patiently


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        """The time it was set to."""
        return self.now


def told(capsys: pytest.CaptureFixture[str], events: list[tuple[float, Event]], *, quiet: bool = False) -> list[str]:
    """The lines on stderr, which is no terminal, for events at these seconds of a run."""
    clock = Clock()
    with Meter(quiet=quiet, clock=clock) as meter:
        for at, event in events:
            clock.now = 100 + at
            meter(event)
    return capsys.readouterr().err.splitlines()


def test_a_short_run_shows_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever happens in its first second."""
    assert (
        told(capsys, [(0, PhaseStarted("copying")), (0.9, Advanced("users", 1, 2)), (0.9, PhaseEnded("copying", 1))])
        == []
    )


def test_lines_come_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """One in five seconds, with the label, how far it is, how fast, and the time left."""
    events: list[tuple[float, Event]] = [(at, Advanced("users", at * 100, 4_000)) for at in range(13)]
    lines = told(capsys, events)
    assert [line.split(",")[0] for line in lines] == ["users: 500 of 4", "users: 1"]
    assert lines == [
        "users: 500 of 4,000 rows, 100/s, 35 s left",
        "users: 1,000 of 4,000 rows, 100/s, 30 s left",
    ]


def test_bytes_are_shown_in_megabytes(capsys: pytest.CaptureFixture[str]) -> None:
    """As an amount, and as the speed of something that counts both."""
    assert told(capsys, [(0, Advanced("files", 0, 8)), (8, Advanced("files", 4_000_000, 8_000_000, "bytes"))]) == [
        "files: 4.0 MB of 8.0 MB, 500 kB/s, 8 s left"
    ]
    made = Advanced("generating", 2, 600, "parts", bytes=16_000_000)
    assert told(capsys, [(0, made), (8, made)]) == ["generating: 2 of 600 parts, 2.0 MB/s, 40 min left"]


def test_a_phase_is_shown_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    """If nothing says how far it is."""
    assert told(capsys, [(6, PhaseStarted("building indexes")), (7, PhaseEnded("building indexes", 1))]) == [
        "building indexes"
    ]


def test_notes_are_shown_at_once_unless_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """With --quiet nothing is shown, and an event of an unknown kind never is."""
    events: list[tuple[float, Event]] = [(0, Note("waiting for somebody")), (9, object()), (9, Advanced("users", 1, 2))]
    assert told(capsys, events[:2]) == ["waiting for somebody"]
    assert told(capsys, events, quiet=True) == []


def test_a_terminal_gets_bars(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the name of the phase; a terminal of a CI system gets lines."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    events: list[tuple[float, Event]] = [(6, PhaseStarted("building indexes")), (7, Advanced("users", 1, 2))]
    assert "\x1b[" in "".join(told(capsys, events))
    monkeypatch.setenv("CI", "true")
    assert told(capsys, events) == ["building indexes"]


def test_a_silent_phase_is_shown_by_its_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal, after a second in which nothing else happened."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    shown: list[str] = []

    def is_shown() -> bool:
        shown.append(capsys.readouterr().err)
        return "verifying" in "".join(shown)

    with Meter(quiet=False) as meter:
        meter(PhaseStarted("verifying"))
        patiently(is_shown)
    assert "verifying" in "".join(shown)
