"""What supervisors and scrapers ask of workers: alive or not, and totals since the start, by file or by HTTP."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from snapseed.embeddings.service import WorkerFailed
from snapseed.embeddings.worker import BatchDone
from snapseed.errors import UsageError
from snapseed.events import Event

# A worker is heard of every second while it waits, after each batch (about a second) and before each pause. A remote
# model may take longer; a worker that is silent for this long hangs.
_ALIVE_SECONDS = 300.0
_COUNTS = {
    "batches": "Batches that were committed.",
    "jobs": "Jobs that were claimed.",
    "skipped": "Keys whose text is gone.",
    "rows": "Rows that were inserted, changed or deleted.",
    "dead": "Jobs that were given up.",
    "failures": "Failures that a worker came back from.",
}
_SECONDS = {"busy_seconds": "Time spent on batches.", "embed_seconds": "Time spent on embedding."}


class Health:
    """A listener that counts, and knows when a worker was last heard of. `file` is replaced after each event."""

    def __init__(self, environment: str, file: Path | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self._file, self._now = file, now
        self._started_at = self._heard_at = time.time()
        # The wall clock may jump.
        self._heard = now()
        self._counters = {
            name: Counter(f"snapseed_worker_{name}", text, ["environment"], registry=self.registry).labels(environment)
            for name, text in (_COUNTS | _SECONDS).items()
        }
        alive = Gauge(
            "snapseed_worker_alive", "Whether one was heard of lately.", ["environment"], registry=self.registry
        )
        alive.labels(environment).set_function(lambda: self.is_alive)
        self._labels = {"environment": environment}

    def __call__(self, event: Event) -> None:
        """Count an event. Raises `UsageError` if the file cannot be written."""
        if isinstance(event, BatchDone):
            self._counters["batches"].inc()
            for name in ("jobs", "skipped", "rows", "dead", "embed_seconds"):
                self._counters[name].inc(getattr(event, name))
            self._counters["busy_seconds"].inc(event.seconds)
        elif isinstance(event, WorkerFailed):
            self._counters["failures"].inc()
        self._heard_at, self._heard = time.time(), self._now()
        if self._file is None:
            return
        beside = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        try:
            beside.write_text(json.dumps(self.document()) + "\n", encoding="utf-8")
            beside.replace(self._file)
        except OSError as exc:
            raise UsageError("the health file cannot be written", where=str(self._file), observed=exc.strerror) from exc

    @property
    def is_alive(self) -> bool:
        """Whether a worker was heard of within the last five minutes."""
        return self._now() - self._heard < _ALIVE_SECONDS

    def total(self, name: str) -> float:
        """A count since the start, by its name: "jobs", "batches"."""
        return self.registry.get_sample_value(f"snapseed_worker_{name}_total", self._labels) or 0.0

    def document(self) -> dict[str, object]:
        """All of it for programs; times are seconds since 1970."""
        times: dict[str, object] = {"alive": self.is_alive, "heard_at": self._heard_at, "started_at": self._started_at}
        counts = {name: int(self.total(name)) for name in _COUNTS}
        return times | counts | {name: self.total(name) for name in _SECONDS}


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Requests are not worth a line."""


@contextmanager
def serving(health: Health, port: int | None) -> Iterator[None]:
    """Answer `/healthz` and `/metrics` on this port of loopback; does nothing without a port.

    Raises `UsageError` if the port is taken.
    """
    if port is None:
        yield
        return
    metrics = make_wsgi_app(health.registry)

    def answer(request: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        """Answer a request for the metrics or the health."""
        if request["PATH_INFO"] == "/metrics":
            # OpenMetrics for everyone, also for a client that does not ask for it.
            found: Iterable[bytes] = metrics(request | {"HTTP_ACCEPT": "application/openmetrics-text"}, start)
            return found
        if request["PATH_INFO"] == "/healthz":
            start("200 OK" if health.is_alive else "503 Service Unavailable", [("Content-Type", "application/json")])
            return [json.dumps(health.document()).encode()]
        start("404 Not Found", [("Content-Type", "text/plain")])
        return [b"/healthz or /metrics\n"]

    try:
        server = make_server("127.0.0.1", port, answer, ThreadingWSGIServer, _SilentHandler)
    except OSError as exc:
        raise UsageError("the port cannot be used", observed=f"{port}: {exc.strerror}") from exc
    with server:
        threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
