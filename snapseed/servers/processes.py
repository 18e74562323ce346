"""Which processes belong to a server, proved by what the kernel says of them. Without proof, none is signalled."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class ServerProcesses:
    """The processes named `name` that work in `data_directory`, or have the word `mark` in their command line."""

    name: str
    data_directory: Path
    mark: str

    def all(self) -> list[int]:
        """The ids of all of them, children included, in ascending order."""
        return [pid for pid in psutil.pids() if self.owns(pid)]

    def owns(self, pid: int) -> bool | None:
        """Whether the process is one of them; None where that cannot be told. One that has ended is not.

        The proof is its working folder: PostgreSQL and Valkey both change to their data. Where the kernel hides that
        (root in a container without SYS_PTRACE), the mark proves that it is one, and a missing mark proves nothing.
        """
        try:
            process = psutil.Process(pid)
            if process.name() != self.name or process.status() == psutil.STATUS_ZOMBIE:
                return False
            try:
                directory = process.cwd()
            except psutil.AccessDenied:
                return True if self.mark in " ".join(process.cmdline()) else None
        except psutil.NoSuchProcess:
            return False
        with suppress(OSError):  # the process's folder may have been deleted
            return self.data_directory.samefile(directory)
        return False

    def signal(self, pids: list[int], number: signal.Signals) -> None:
        """Send a signal to these of them. A process that turns out to be a foreign one gets none."""
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                # Asked again, because the id may have passed on. psutil then signals this very process or none.
                if self.owns(pid) is not False:
                    process.send_signal(number)
