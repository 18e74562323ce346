"""A cluster on this machine, from the bucket to the partitions: `python run.py [--users 100k]`. Needs no Docker.

It starts an S3 server and a Dask cluster of two workers, generates the example `media` on it into a bucket, kills a
worker on the way, loads the snapshot into a database whose largest table is partitioned, over four connections, and
verifies it. Everything is in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import distributed
import obstore
from obstore.store import S3Store

_PROGRAMS = Path(sys.executable).parent
_KEYS = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_REGION": "us-east-1"}
# Partitions by hash, so a unique constraint without the key of the partitions becomes an index.
_ONE_TABLE = "    UNIQUE (transcript_id, chunk_index, model)\n);"
_PARTITIONED = (
    "    PRIMARY KEY (id)\n) PARTITION BY HASH (id);\nCREATE INDEX ON embeddings (transcript_id);\n"
    + "".join(
        f"CREATE TABLE embeddings_{n} PARTITION OF embeddings FOR VALUES WITH (MODULUS 8, REMAINDER {n});\n"
        for n in range(8)
    )
)


def main() -> None:
    """Run the demonstration; ends with an error if a step does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", default="100k")
    parser.add_argument("--part-rows", type=int, default=2_500, help="users per task")
    options = parser.parse_args()
    os.environ.update(_KEYS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="snapseed-cluster-")))
        endpoint = stack.enter_context(_s3_server(folder))
        client = stack.enter_context(_cluster(folder))
        project = _project(folder, endpoint, options.part_rows)
        scheduler = client.scheduler.address

        _say(f"generate {options.users} users on {scheduler} into s3://demo/snapshots")
        command = [_program("snapseed"), "generate", "--scale", options.users, "--cluster", scheduler]
        with subprocess.Popen(command, cwd=project) as generating:
            _kill_a_worker(client, S3Store("demo", endpoint=endpoint, client_options={"allow_http": True}))
        if generating.returncode:
            sys.exit(generating.returncode)

        stack.callback(_snapseed, project, "db", "stop")
        _say("create the tables, embeddings in eight partitions")
        _snapseed(project, "db", "start")
        schema = (project / "generators/schema.sql").read_text()
        _snapseed(project, "db", "psql", "--", "--quiet", "--set", "ON_ERROR_STOP=1", "--command", schema)
        _say("load them over four connections, by tasks of the cluster")
        _snapseed(project, "load", "--connections", "4", "--cluster", scheduler)
        _say("verify: every row in the server against the manifest")
        _snapseed(project, "verify")


def _project(folder: Path, endpoint: str, part_rows: int) -> Path:
    """The example, with its snapshots in the bucket and its largest table partitioned."""
    project = folder / "media"
    subprocess.run(
        [_program("snapseed"), "init", "--example", "media", str(project)], check=True, stdout=subprocess.DEVNULL
    )
    shutil.rmtree(project / "snapshots", ignore_errors=True)
    settings = project / "snapseed.toml"
    text = settings.read_text().replace("part_rows = 2500", f"part_rows = {part_rows}")
    text = text.replace("create_schema = true", "create_schema = false")
    settings.write_text(text.replace('"snapshots"', f'"s3://demo/snapshots?endpoint={endpoint}"'))
    schema = project / "generators/schema.sql"
    one_table = "CREATE TABLE embeddings (\n    id uuid PRIMARY KEY DEFAULT"
    before = schema.read_text()
    after = before.replace(one_table, one_table.replace("PRIMARY KEY", "NOT NULL")).replace(_ONE_TABLE, _PARTITIONED)
    assert "PARTITION BY" in after
    schema.write_text(after)
    return project


def _kill_a_worker(client: distributed.Client, bucket: S3Store) -> None:
    """Kill one of the workers as soon as the first part is in the bucket."""
    while not any(found["path"].endswith(".parquet") for page in obstore.list(bucket, "snapshots") for found in page):
        time.sleep(0.05)
    victim = min(client.run(os.getpid).values())
    _say(f"kill worker {victim}")
    os.kill(victim, signal.SIGKILL)


@contextmanager
def _cluster(folder: Path) -> Iterator[distributed.Client]:
    """A scheduler and two workers with one thread each, which come back when they die."""
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            local_directory=str(folder),
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def _s3_server(folder: Path) -> Iterator[str]:
    """The URL of an S3 server (SeaweedFS)."""
    data = folder / "s3"
    data.mkdir()
    secrets = {"accessKey": _KEYS["AWS_ACCESS_KEY_ID"], "secretKey": _KEYS["AWS_SECRET_ACCESS_KEY"]}
    actions = ["Admin", "Read", "Write", "List"]
    config = data / "s3.json"
    config.write_text(json.dumps({"identities": [{"name": "us", "credentials": [secrets], "actions": actions}]}))
    names = [f"{name}.port{kind}" for name in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        ports = {name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}
    command = [_program("weed"), "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
    limits = ["-master.volumeSizeLimitMB=64", "-volume.max=100", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    options = [f"-s3.config={config}", *limits, *(f"-{name}={port}" for name, port in ports.items())]
    with (data / "log").open("wb") as log, subprocess.Popen([*command, *options], stdout=log, stderr=log) as process:
        try:
            url = f"http://127.0.0.1:{ports['s3.port']}"
            bucket = S3Store("demo", endpoint=url, client_options={"allow_http": True}, retry_config={"max_retries": 0})
            while process.poll() is None:
                try:
                    bucket.put("ready", b"")
                except (obstore.exceptions.BaseError, OSError):
                    time.sleep(0.1)
                else:
                    break
            yield url
        finally:
            process.kill()


def _snapseed(project: Path, *arguments: str) -> None:
    subprocess.run([_program("snapseed"), *arguments], cwd=project, check=True)


def _program(name: str) -> str:
    return shutil.which(name, path=str(_PROGRAMS)) or name


def _say(text: str) -> None:
    print(f"── {text}", flush=True)


if __name__ == "__main__":
    main()
