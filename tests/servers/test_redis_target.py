"""Which Redis an environment uses, how to connect to it, and which ones are refused."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from snapseed.errors import ConfigurationError, RefusedError, ServerError
from snapseed.servers.targets import (
    RedisTarget,
    redis_connected,
    redis_translated,
    require_redis_allowed,
    resolve_redis,
)
from tests.conftest import Sandbox
from tests.projects.own_valkey import OwnValkey, own_valkey


@pytest.fixture(scope="module")
def port() -> int:
    """A free port for the server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def locked(port: int) -> Iterator[OwnValkey]:
    """A server on a Unix socket and on TCP that asks for a password."""
    users = ["--user", "app", "on", ">s3cret", "~*", "&*", "+@all", "--user", "default", "off"]
    with own_valkey("--port", str(port), *users) as running:
        yield running


def target_of(shop: Sandbox, url: str) -> RedisTarget:
    """The target of an environment with this URL."""
    return resolve_redis(shop.project, shop.environment(redis=url))


@contextmanager
def connected(shop: Sandbox, url: str, **settings: object) -> Iterator[redis.Redis]:
    """A client of an environment with this URL."""
    environment = shop.environment("dev", redis=url, **settings)
    with redis_connected(resolve_redis(shop.project, environment), environment) as client:
        yield client


def test_a_user_a_password_and_a_database_number_are_used(shop: Sandbox, locked: OwnValkey, port: int) -> None:
    """Over TCP and over the Unix socket."""
    with connected(shop, f"redis://app:s3cret@127.0.0.1:{port}/3") as client:
        client.set("here", 3)
    with connected(shop, f"unix://app:s3cret@{locked.folder}/s?db=3") as client:
        assert client.get("here") == b"3"
    with connected(shop, f"unix://app:s3cret@{locked.folder}/s") as client:
        assert client.get("here") is None


def test_tls_is_used_and_the_certificate_is_checked(
    shop: Sandbox, locked: OwnValkey, port: int, tmp_path: Path
) -> None:
    """The server under test has no TLS, so a thread in front of it terminates the connections."""
    del locked
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with _terminating_tls(context, port) as outside:
        url = f"rediss://app:s3cret@localhost:{outside}/0"
        with pytest.raises(ServerError), connected(shop, url):
            pass
        with connected(shop, f"{url}?ssl_ca_certs={certificate}") as client:
            assert client.ping()


@contextmanager
def _terminating_tls(context: ssl.SSLContext, port: int) -> Iterator[int]:
    """A port that accepts TLS connections and forwards their contents."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                raw, _ = listening.accept()
                try:
                    client = context.wrap_socket(raw, server_side=True)
                except OSError:
                    raw.close()
                    continue
                inner = socket.create_connection(("127.0.0.1", port))
                threads = [threading.Thread(target=pump, args=pair) for pair in ((client, inner), (inner, client))]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                client.close()
                inner.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("credentials", ["", "app:wrong@", "nobody:s3cret@"])
def test_wrong_credentials_are_a_mistake_in_the_settings(
    shop: Sandbox, locked: OwnValkey, port: int, credentials: str
) -> None:
    """It is not an error that a retry could fix. The password is not shown."""
    del locked
    url = f"redis://{credentials}127.0.0.1:{port}/0"
    with pytest.raises(ConfigurationError) as caught, connected(shop, url):
        pass
    assert "s3cret" not in str(caught.value)


def test_a_missing_server_is_worth_a_retry(shop: Sandbox, tmp_path: Path) -> None:
    """It is a `ServerError`."""
    with pytest.raises(ServerError), connected(shop, f"unix://{tmp_path}/none"):
        pass


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "localhost:6379",
        "redis://localhost:port/0",
        "redis://localhost?protocol=3",
        "redis://localhost?foo=1",
    ],
)
def test_an_invalid_url_is_refused(shop: Sandbox, url: str) -> None:
    """The error lists the valid forms."""
    with pytest.raises(ConfigurationError) as caught:
        target_of(shop, url)
    assert "unix:///PATH" in str(caught.value.expected)


AWKWARD = "/#?%@ :&=+[]\"'ü"


@pytest.mark.parametrize("prefix", ["Zq7", "12", ""])
@pytest.mark.parametrize("character", AWKWARD)
def test_no_part_of_a_password_is_shown_or_taken_for_something_else(shop: Sandbox, prefix: str, character: str) -> None:
    """Whatever it contains: the URL means the whole password, or is refused without a word of it."""
    password = f"{prefix}{character}canary{character}x=Pw"
    for place in ("redis://{}@127.0.0.1:6379/0", "rediss://me{}@localhost", "unix://me{}@/tmp/s?db=1"):
        for login in (f":{password}", f":{quote(password, safe='')}"):
            url = place.format(login)
            try:
                target = target_of(shop, url)
            except ConfigurationError as exc:
                said = str(exc)
                assert login != f":{quote(password, safe='')}"
            else:
                said = f"{target.described} {target.host}"
                assert redis.Redis.from_url(target.url).connection_pool.connection_kwargs["password"] == password
            for part in filter(None, ("canary", "Zq7", "Pw")):
                assert part not in said


def test_a_password_of_awkward_characters_logs_in(shop: Sandbox, port: int, locked: OwnValkey) -> None:
    """Percent-encoded."""
    with redis.Redis(unix_socket_path=f"{locked.folder}/s", username="app", password="s3cret") as admin:
        admin.execute_command("ACL", "SETUSER", "odd", "on", f">{AWKWARD.replace(' ', '')}", "~*", "+@all")
    with connected(shop, f"redis://odd:{quote(AWKWARD.replace(' ', ''), safe='')}@127.0.0.1:{port}/0") as client:
        assert client.ping()


@pytest.mark.parametrize("url", ["redis://queue.internal:6379/0", "rediss://app:s3cret@10.0.0.7/1"])
def test_a_server_elsewhere_has_to_be_allowed(shop: Sandbox, url: str) -> None:
    """In allow_hosts, before anything is sent to it."""
    with pytest.raises(RefusedError) as caught, connected(shop, url):
        pass
    assert target_of(shop, url).host in str(caught.value.next_step)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://localhost/0", "redis://[::1]:7/0", "redis://127.0.0.9/0", "unix:///run/redis.sock"]
)
def test_a_server_of_this_machine_is_allowed(shop: Sandbox, url: str) -> None:
    """Whatever its name or address. One that is not would raise `RefusedError`."""
    environment = shop.environment(redis=url)
    target = resolve_redis(shop.project, environment)
    require_redis_allowed(target, environment, consent=False)
    assert target.host in {"", "localhost", "::1", "127.0.0.9"}


def test_a_name_that_looks_like_production_needs_two_consents(shop: Sandbox) -> None:
    """One on the command line, and one in the file."""
    name = "queue.prod.internal"
    for replace_existing, consent in ((False, False), (True, False), (False, True), (True, True)):
        settings = {"redis": f"redis://{name}/0", "allow_hosts": (name,), "replace_existing": replace_existing}
        environment = shop.environment("dev", **settings)
        wanted = pytest.raises(RefusedError, match="production")
        with nullcontext() if replace_existing and consent else wanted:
            require_redis_allowed(resolve_redis(shop.project, environment), environment, consent=consent)


def test_missing_privileges_are_a_mistake_in_the_settings(shop: Sandbox, locked: OwnValkey, port: int) -> None:
    """Also when they show up during the work."""
    with redis.Redis(unix_socket_path=f"{locked.folder}/s", username="app", password="s3cret") as admin:
        admin.execute_command("ACL", "SETUSER", "reader", "on", ">s3cret", "~*", "+@read", "+@connection")
    url = f"redis://reader:s3cret@127.0.0.1:{port}/0"
    with (
        connected(shop, url) as client,
        pytest.raises(ConfigurationError),
        redis_translated("writing", target_of(shop, url)),
    ):
        client.set("a", 1)


def test_the_embedded_server_is_started_on_demand(shop: Sandbox) -> None:
    """It is also the default."""
    target = resolve_redis(shop.project, shop.environment())
    assert target.embedded is not None
    try:
        with redis_connected(target, shop.environment()) as client:
            assert client.ping()
    finally:
        target.embedded.stop()
