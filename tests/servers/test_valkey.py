from __future__ import annotations

import os
import socket
import threading

import redis

from snapseed.servers import EmbeddedRedis


def test_it_keeps_what_was_written_over_a_restart(valkey: EmbeddedRedis) -> None:
    """Keys are there after a stop and a start, from the append-only file alone."""
    valkey.start()
    with redis.Redis.from_url(valkey.url()) as client:
        client.set("key", "value")
        wanted = {"port": "0", "appendonly": "yes", "appendfsync": "everysec", "save": "", "unixsocketperm": "0700"}
        found = client.config_get(*wanted)
        assert {
            name: str(found[name]).zfill(4) if name == "unixsocketperm" else found[name] for name in wanted
        } == wanted
    valkey.stop()
    assert not list(valkey.data_directory.glob("*.rdb"))
    valkey.start()
    with redis.Redis.from_url(valkey.url()) as client:
        assert client.get("key") == b"value"


def test_a_server_that_closes_the_connection_is_not_running(valkey: EmbeddedRedis) -> None:
    """A server that accepts and then closes without an answer, as when it cannot read its data, is not running."""
    valkey.start()
    valkey.stop()
    with socket.socket(socket.AF_UNIX) as ending:
        ending.bind(str(valkey.socket_file))
        ending.listen()
        os.chown(valkey.socket_file, valkey.data_directory.stat().st_uid, -1)

        def close_the_first() -> None:
            connection, _ = ending.accept()
            connection.close()

        accepting = threading.Thread(target=close_the_first)
        accepting.start()
        assert not valkey.is_running()
        accepting.join()
