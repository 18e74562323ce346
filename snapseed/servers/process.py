"""Which processes are a given embedded server's own, proved by what the kernel says of them.

A process without that proof is never signalled.
"""

from __future__ import annotations

from contextlib import suppress

from snapseed.servers.files import ServerFiles


def belongs(pid: int, files: ServerFiles, program: str) -> bool | None:
    """Whether the process is `program` at work on these files; None where that cannot be told.

    The proof is its working folder, which both PostgreSQL and Valkey change to their data. Where the kernel hides that
    (root in a container without SYS_PTRACE), the mark in its command line is proof that it belongs, and a missing
    mark is no proof that it does not. A process that has ended, reaped or not, is nobody's.
    """
    import psutil  # noqa: PLC0415 - start-up time: only a start, a stop or a crash asks

    try:
        process = psutil.Process(pid)
        if process.name() != program or process.status() == psutil.STATUS_ZOMBIE:
            return False
        try:
            directory = process.cwd()
        except psutil.AccessDenied:
            return True if files.mark in " ".join(process.cmdline()) else None
    except psutil.NoSuchProcess:
        return False
    try:
        return files.data_directory.samefile(directory)
    except OSError:  # the process's folder has been deleted
        return False


def processes(files: ServerFiles, program: str) -> list[int]:
    """The ids of all processes of the server, its children included, in ascending order."""
    import psutil  # noqa: PLC0415 - as above

    return [pid for pid in psutil.pids() if belongs(pid, files, program)]


def terminate(files: ServerFiles, program: str) -> None:
    """Ask the server's processes to end (SIGTERM, which both servers take as the order to shut down cleanly)."""
    import psutil  # noqa: PLC0415 - as above

    for pid in processes(files, program):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            # Asked once more, since the id may have changed hands; psutil itself then signals no other than this one.
            if belongs(pid, files, program):
                process.terminate()


def exists(pid: int) -> bool:
    """Whether the system knows the process id, a process that has ended and waits to be reaped included."""
    import psutil  # noqa: PLC0415 - as above

    return psutil.pid_exists(pid)
