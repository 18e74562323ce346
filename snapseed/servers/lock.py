"""The lock of an embedded server: one process at a time starts or stops it. Others wait, and say for whom."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from snapseed.errors import ConfigurationError, ServerError
from snapseed.servers.account import Account, create_in, state_folder

# Too short to notice, and polling is cheap.
POLL_SECONDS = 0.02
# Shorter waits for another process are normal. Longer ones are told.
_PATIENCE_SECONDS = 1.0

_log = logging.getLogger("snapseed")


@contextmanager
def server_lock(path: Path, title: str, account: Account, seconds: float) -> Iterator[int]:
    """Hold the lock in file `path` for the server `title`, waiting for it at most `seconds`. Gives `.snapseed`, open.

    The lock is the kernel's (`flock`), so it ends with the process, however that ends. Nobody else can open it.
    Creates `.snapseed`, the folder of `path`. Raises `ConfigurationError` where that cannot be written, `RefusedError`
    where others can write to it, `ServerError` when the lock does not become free in time.
    """
    if "\n" in str(path):
        raise ConfigurationError(
            "an embedded server cannot work in a folder with a line break in its path",
            observed=repr(str(path.parent.parent)),
            expected="a path of one line: both servers write it into files that are read by lines",
            next_step="rename the folder",
        )
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(state_folder(path.parent, account))
            # Databases must stay out of git, even in a project whose own .gitignore forgot them.
            for name, mode, text in ((".gitignore", 0o644, b"*\n"), (path.name, 0o600, b"")):
                with suppress(FileExistsError), os.fdopen(create_in(folder, name, mode), "wb") as file:
                    file.write(text)
            lock = os.open(path.name, os.O_RDWR | os.O_NOFOLLOW, dir_fd=folder)
            stack.callback(os.close, lock)
            # Earlier versions let everybody read it, so any account could lock it.
            if os.fstat(lock).st_uid == os.fstat(folder).st_uid:
                os.fchmod(lock, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"the folder of the {title} cannot be written",
                observed=error.strerror,
                expected="a project folder in which this account may create .snapseed",
                where=str(path.parent),
                next_step="make the folder writable, or name a database of your own in snapseed.toml",
            ) from error
        _await_lock(lock, path, title, seconds)
        yield folder


def _await_lock(descriptor: int, path: Path, title: str, seconds: float) -> None:
    """Wait for the lock, and write into its file who has it."""

    def holder() -> str:
        return f"process {os.pread(descriptor, 20, 0).decode() or 'unknown'}"

    for _ in polls(seconds, lambda: f"waiting for {holder()}, which is starting or stopping the {title}"):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            return
    raise ServerError(
        f"another process has been starting or stopping the {title} for too long",
        observed=f"the lock is still taken after {seconds:g} s, by {holder()}",
        where=str(path),
        next_step="wait for that process, or end it, and run the same command again",
    )


@contextmanager
def telling(text: Callable[[], str]) -> Iterator[None]:
    """Say in the log what the block waits for, if that takes more than a second."""
    timer = threading.Timer(_PATIENCE_SECONDS, lambda: _log.warning("%s", text()))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def polls(seconds: float, text: Callable[[], str]) -> Iterator[None]:
    """Yield once, and again until the time is over; say in the log what is waited for, as `telling` does."""
    deadline = time.monotonic() + seconds
    with telling(text):
        yield
        while time.monotonic() <= deadline:
            time.sleep(POLL_SECONDS)
            yield
