"""Which server a run of the tests uses."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import psycopg
import pytest

from tests import server_choice
from tests.server_choice import Kind

URL = "postgresql://tests@localhost/tests"


@pytest.mark.parametrize("engine", [True, False])
@pytest.mark.parametrize(
    ("setting", "kind"),
    [(URL, Kind.GIVEN), ("container", Kind.CONTAINER), ("embedded", Kind.EMBEDDED), ("system", Kind.SYSTEM)],
)
def test_the_setting_is_obeyed(setting: str, kind: Kind, *, engine: bool) -> None:
    """Whether or not a Docker engine answers."""
    assert server_choice.chosen(setting, engine_answers=engine)[0] is kind


def test_without_a_setting_it_is_a_container_if_an_engine_answers() -> None:
    """Otherwise it is the embedded server. Either way the run says why."""
    assert server_choice.chosen("", engine_answers=True) == (Kind.CONTAINER, "a Docker engine answers")
    kind, reason = server_choice.chosen("", engine_answers=False)
    assert kind is Kind.EMBEDDED
    assert "no Docker engine" in reason


@pytest.mark.parametrize("host", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1", "ssh://nobody@127.0.0.1"])
def test_an_engine_that_does_not_answer_does_not_count(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one on another machine, whose containers have no port here."""
    monkeypatch.setenv("DOCKER_HOST", host)
    assert not server_choice.engine_answers()


def test_an_engine_that_answers_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is only pinged."""
    place = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(place))
        engine.listen()

        def answer() -> None:
            with engine.accept()[0] as asked:
                assert asked.recv(100).startswith(b"GET /_ping ")
                asked.sendall(b"HTTP/1.0 200 OK\r\n\r\nOK")

        answering = threading.Thread(target=answer)
        answering.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{place}")
        assert server_choice.engine_answers()
        answering.join()


def test_every_run_says_which_server_it_uses(pytestconfig: pytest.Config) -> None:
    """In its header."""
    said = pytestconfig.hook.pytest_report_header(config=pytestconfig, start_path=Path())
    assert server_choice.described() in said


def test_a_server_installed_on_this_machine_can_be_used() -> None:
    """And it is gone afterwards."""
    try:
        programs = server_choice.system_programs()
    except FileNotFoundError as exc:
        pytest.skip(str(exc))
    with server_choice.system_server(programs) as url, psycopg.connect(url) as connection:
        row = connection.execute("SHOW unix_socket_directories").fetchone()
        assert row is not None
        folder = Path(row[0])
        assert folder.exists()
    assert not folder.exists()
