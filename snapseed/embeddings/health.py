"""What supervisors and scrapers ask of workers: alive or not, and counts since the start, by file or by HTTP."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from snapseed.embeddings.worker import BatchDone
from snapseed.errors import SnapseedError, UsageError

# Workers look at their queue every second, a batch takes about one, and pauses behind failures five. A model elsewhere
# may take longer; whoever is silent for so long hangs.
_ALIVE_SECONDS = 300.0


@dataclass
class Health:
    """Counts since the start, and when a worker was last heard of. `file` is written again at each beat."""

    file: Path | None = None
    jobs: int = 0
    skipped: int = 0
    rows: int = 0
    dead: int = 0
    batches: int = 0
    failures: int = 0
    busy_seconds: float = 0.0
    embed_seconds: float = 0.0
    heard_at: float = field(default_factory=time.time)
    started_at: float = field(default_factory=time.time)
    # Not by the clock on the wall, which may jump.
    _heard: float = field(default_factory=time.monotonic, init=False)

    def batch(self, done: BatchDone) -> None:
        """Count a batch."""
        self.batches += 1
        self.jobs += done.jobs
        self.skipped += done.skipped
        self.rows += done.rows
        self.dead += done.dead
        self.busy_seconds += done.seconds
        self.embed_seconds += done.embed_seconds
        self.beat()

    def failure(self, _error: SnapseedError, _pause: float) -> None:
        """Count a failure that a worker comes back from."""
        self.failures += 1
        self.beat()

    def beat(self) -> None:
        """A worker is alive. Raises `UsageError` where the file cannot be written."""
        self.heard_at, self._heard = time.time(), time.monotonic()
        if self.file is not None:
            self._write(self.file)

    def _write(self, file: Path) -> None:
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            beside.write_text(json.dumps(self.document()) + "\n", encoding="utf-8")
            beside.replace(file)
        except OSError as exc:
            raise UsageError("the health file cannot be written", where=str(file), observed=exc.strerror) from exc

    @property
    def is_alive(self) -> bool:
        """Whether a worker was heard of lately."""
        return time.monotonic() - self._heard < _ALIVE_SECONDS

    def document(self) -> dict[str, object]:
        """All of it, for programs."""
        return {
            "alive": self.is_alive,
            "heard_at": self.heard_at,
            "started_at": self.started_at,
            **{name: getattr(self, name) for name in _COUNTS},
        }

    def openmetrics(self, environment: str) -> str:
        """The counts as OpenMetrics (specification 1.0)."""
        lines = []
        for name, text in _COUNTS.items():
            lines += [f"# TYPE snapseed_worker_{name} counter", f"# HELP snapseed_worker_{name} {text}"]
            lines.append(f'snapseed_worker_{name}_total{{environment="{environment}"}} {float(getattr(self, name))!r}')
        lines += ["# TYPE snapseed_worker_alive gauge", "# HELP snapseed_worker_alive Whether one was heard of lately."]
        lines.append(f'snapseed_worker_alive{{environment="{environment}"}} {float(self.is_alive)!r}')
        return "\n".join([*lines, "# EOF", ""])


_COUNTS = {
    "batches": "Batches that were committed.",
    "jobs": "Jobs that were claimed.",
    "skipped": "Keys whose text is gone.",
    "rows": "Rows that were inserted, changed or deleted.",
    "dead": "Jobs that were given up.",
    "failures": "Failures that a worker came back from.",
    "busy_seconds": "Time spent on batches.",
    "embed_seconds": "Time spent on embedding.",
}


@contextmanager
def serving(health: Health, environment: str, port: int | None) -> Iterator[None]:
    """Answer `/healthz` and `/metrics` on this port of loopback, if one is given.

    Raises `UsageError` where the port is taken.
    """
    if port is None:
        yield
        return

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = {
                "/healthz": (200 if health.is_alive else 503, "application/json", json.dumps(health.document())),
                "/metrics": (
                    200,
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    health.openmetrics(environment),
                ),
            }
            status, kind, text = known.get(self.path, (404, "text/plain", "/healthz or /metrics\n"))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Requests are no news."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as exc:
        raise UsageError("the port cannot be used", observed=f"{port}: {exc.strerror}") from exc
    thread = threading.Thread(target=server.serve_forever, name="healthz", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
