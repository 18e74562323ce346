"""Which processes belong to a server, proved by what the kernel says of them. Without proof, none is signalled."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

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
        A folder that is gone has no processes, but it may have orphans.
        """
        try:
            process = psutil.Process(pid)
            if not self._is_named(process):
                return False
            try:
                directory = process.cwd()
            except psutil.AccessDenied:
                return True if self._is_marked(process) and os.path.lexists(self.data_directory) else None
        except psutil.NoSuchProcess:
            return False
        with suppress(OSError):  # the process's folder may have been deleted
            return self.data_directory.samefile(directory)
        return False

    def signal(self, pids: list[int], number: Signals) -> None:
        """Send a signal to these of them. A process that turns out to be a foreign one gets none."""
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                # Asked again, because the id may have passed on. psutil then signals this very process or none.
                if self.owns(pid) is not False:
                    process.send_signal(number)

    def orphans(self) -> list[psutil.Process]:
        """Those whose data was deleted while they ran, so that nobody can reach them. Not those of another account."""
        return [process for process in psutil.process_iter() if self._is_orphan(process)]

    def signal_orphans(self, number: Signals) -> list[int]:
        """Signal each orphan that is not the child of another one; returns the ids of all of them."""
        found = {process.pid: process for process in self.orphans()}
        for process in found.values():
            with suppress(psutil.NoSuchProcess):
                if process.ppid() not in found:
                    process.send_signal(number)
        return list(found)

    def _is_orphan(self, process: psutil.Process) -> bool:
        """Whether it is one whose data is gone, and ours to signal."""
        try:
            if not self._is_named(process) or os.geteuid() not in {0, process.uids().effective}:
                return False
            try:
                is_lost = str(Path(f"/proc/{process.pid}/cwd").readlink()) == f"{self.data_directory} (deleted)"
            except OSError:  # hidden by the kernel, or a system without /proc
                is_lost = self._is_marked(process) and not os.path.lexists(self.data_directory)
            return is_lost and _has_our_mounts(process)
        except psutil.Error:
            return False

    def _is_named(self, process: psutil.Process) -> bool:
        """Whether it has the name, and has not ended."""
        return process.name() == self.name and process.status() != psutil.STATUS_ZOMBIE

    def _is_marked(self, process: psutil.Process) -> bool:
        """Whether the mark is in its command line."""
        return self.mark in " ".join(process.cmdline())


def _has_our_mounts(process: psutil.Process) -> bool:
    """Whether paths mean the same to the process. In another container they may not; macOS has no such thing."""
    ours = Path("/proc/self/mountinfo")
    with suppress(OSError):
        return not ours.exists() or ours.read_bytes() == Path(f"/proc/{process.pid}/mountinfo").read_bytes()
    return False
