"""A server that speaks S3 (SeaweedFS), and a proxy in front of it that makes faults."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

KEYS = {"AWS_ACCESS_KEY_ID": "snapseed", "AWS_SECRET_ACCESS_KEY": "very-secret", "AWS_REGION": "us-east-1"}
_WEED = shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed"


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server for all tests of a process."""
    with running_endpoint(tmp_path_factory.mktemp("s3")) as port:
        yield port


@contextmanager
def running_endpoint(folder: Path) -> Iterator[int]:
    """The port of a server with its data in `folder`. It makes a bucket when something is put into it."""
    identity = {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
    rights = ["Admin", "Read", "Write", "List"]
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [{"name": "us", "credentials": [identity], "actions": rights}]}))
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    ports = dict(zip((*names, "s3.port", "s3.port.grpc"), _free_ports(8), strict=True))
    options = [f"-{name}={port}" for name, port in ports.items()]
    limits = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.volumeSizeLimitMB=64", "-volume.max=20"]
    limits += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    command = [_WEED, "server", f"-dir={folder}", *limits, *options, "-filer", "-s3", f"-s3.config={config}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        _wait(ports["s3.port"], process)
        yield ports["s3.port"]
    finally:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until an object can be put, which is some time after it answers."""
    client = S3Store(
        "tests",
        endpoint=f"http://127.0.0.1:{port}",
        access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            client.put("ready", b"")
        except (BaseError, OSError):
            assert process.poll() is None, "the S3 server ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@dataclass
class Fault:
    """What happens to the next `times` requests that match, the first `after` left out."""

    kind: str
    method: str = "GET"
    part: str = ""
    times: int = 1
    after: int = 0
    first: Callable[[], object] = lambda: None

    def takes(self, method: str, path: str) -> bool:
        """Whether this request gets it."""
        if method != self.method or self.part not in path or not self.times:
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True


@dataclass
class FaultProxy:
    """Requests pass through, except for those that one of the `faults` takes. `seen` has method, path and range."""

    upstream: int
    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str, str]] = field(default_factory=list)

    def url(self, prefix: str) -> str:
        """The setting `snapshots` for a prefix behind this proxy."""
        return f"s3://tests/{prefix}?endpoint=http://127.0.0.1:{self.port}"


_REFUSED = {
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
    "501": (501, "NotImplemented"),
    "expired": (400, "ExpiredToken"),
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def _pass(self) -> None:
        proxy, headers = self.proxy, {name.lower(): value for name, value in self.headers.items()}
        proxy.seen.append((self.command, self.path, headers.get("range", "")))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = next((fault for fault in proxy.faults if fault.takes(self.command, self.path)), None)
        kind = fault.kind if fault else ""
        if kind in _REFUSED and (kind != "501" or {"if-match", "if-none-match"} & set(headers)):
            status, code = _REFUSED[kind]
            self._answer(status, {}, f"<Error><Code>{code}</Code><Message>as asked</Message></Error>".encode())
            return
        if fault:
            fault.first()
        connection = http.client.HTTPConnection("127.0.0.1", proxy.upstream, timeout=30)
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if kind == "lost":
            self.close_connection = True
            return
        skipped = {"connection", "date", "server"}
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in skipped}
        if kind == "altered":
            data = bytes([data[0] ^ 1]) + data[1:]
        self._answer(answer.status, kept, data, kind)

    def _answer(self, status: int, headers: dict[str, str], data: bytes, kind: str = "") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "content-length" not in {name.lower() for name in headers}:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if kind == "cut":
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif kind == "slow":
            for start in range(0, len(data), -(-len(data) // 10)):
                self.wfile.write(data[start : start + -(-len(data) // 10)])
                time.sleep(0.01)
        else:
            self.wfile.write(data)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass  # noqa: N815 - names of http.server

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running_proxy(upstream: int) -> Iterator[FaultProxy]:
    """A proxy in front of a server."""
    proxy = FaultProxy(upstream)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        proxy.port = server.server_port
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            with suppress(OSError):
                server.shutdown()
