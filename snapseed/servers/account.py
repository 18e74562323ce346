"""The account an embedded server runs as: the current one or, because PostgreSQL refuses to run as root, another.

The only change made to folders other than the server's own is a missing search bit, and each one is logged. Root works
by descriptors that follow no link, because the owner of a project may put one anywhere in it at any moment.
"""

from __future__ import annotations

import logging
import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from snapseed.errors import ConfigurationError, RefusedError

# Every Unix has this account, and it may do nothing. Not `postgres`: that one owns the machine's own databases.
UNPRIVILEGED = "nobody"
_END_BYTES = 65_536

_log = logging.getLogger("snapseed")


@dataclass(frozen=True)
class Account:
    """The account that a server runs as."""

    name: str
    uid: int
    gid: int

    @property
    def is_another(self) -> bool:
        """Whether this process has to change to the account, which only root can."""
        return self.uid != os.geteuid()


def account_for(data_directory: Path, project: Path) -> Account:
    """The account for a server with its data in `data_directory`, which need not exist yet.

    Without root it is the current account. As root it is the owner of the data; for new data, the owner of the project
    folder; if both are root, `nobody`. So each user's servers run as that user, even if root starts them.

    Raises `RefusedError` for data of another account, and `ConfigurationError` if `nobody` does not exist.
    """
    uid = os.geteuid()
    try:
        owner = data_directory.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return _account_for_new_data(project) if uid == 0 else Account(_name(uid), uid, os.getegid())
    except PermissionError:
        observed = "a folder above it is closed to this account"
    else:
        if uid == 0 and owner.st_uid == 0:
            return _account_for_new_data(project)
        if uid in {0, owner.st_uid}:
            return Account(_name(owner.st_uid), owner.st_uid, owner.st_gid)
        observed = f"owner {_name(owner.st_uid)}"
    raise RefusedError(
        "the data of the embedded server belongs to another account",
        observed=observed,
        expected=f"owner {_name(uid)}",
        where=str(data_directory),
        next_step="run the command as that account (or as root), or delete the folder to start over",
    )


@contextmanager
def opened_folder(path: Path | str, inside: int | None = None) -> Iterator[int]:
    """A descriptor of a folder; `inside` is that of the folder above. Raises `OSError` for a link or a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=inside)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def state_folder(path: Path, account: Account) -> Iterator[int]:
    """The descriptor of `.snapseed`, created if it is missing. An account that can write to it could replace a server.

    Other accounts cannot list it, whatever the umask. It belongs to the owner of the project. Raises `RefusedError` if
    it is a link, or if another account than this one, root, the project's owner and the server's may write to it;
    `OSError` if it cannot be created.
    """
    owner, created = path.parent.stat(), False
    # Not mkdir(parents=True): a mistyped project folder is an error, not a reason to create one.
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        created = True
    require_unshared(path, account)
    with opened_folder(path) as folder:
        # An empty one, because it could have been exchanged for a folder of root's.
        if created and not os.listdir(folder):  # noqa: PTH208 - of a descriptor
            if os.geteuid() == 0:
                os.fchown(folder, owner.st_uid, owner.st_gid)
            # The account passes through it on the way to its data.
            os.fchmod(folder, 0o700 if os.fstat(folder).st_uid == account.uid else 0o711)
        yield folder


def require_unshared(path: Path, account: Account) -> None:
    """Raise `RefusedError` if `.snapseed` exists and somebody else may write to it."""
    with suppress(FileNotFoundError):
        trusted = {0, os.geteuid(), account.uid, path.parent.stat().st_uid}
        if observed := _danger(path.lstat(), trusted):
            expected = "a folder, not a link, that only the owner of the project can write to"
            advice = f"if what is in it is yours, run `chmod go-w {path}`; if not, delete it"
            raise _refusal(path, observed, expected, advice)


def private_directory(path: Path, account: Account, inside: int | None = None) -> None:
    """Create the folder `path`, or make it one that only `account` can enter; `inside` is the folder above, if open.

    Raises `RefusedError` where somebody else may have planted it, and `ConfigurationError` where this process may not
    give it to the account.
    """
    name = path if inside is None else path.name
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=inside)
    found = os.stat(name, dir_fd=inside, follow_symlinks=False)
    trusted = {account.uid, os.geteuid()}
    above = path.parent.stat()
    if os.geteuid() == 0 and above.st_uid in {0, account.uid} and not above.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        # Nobody but root (this process) and the account could have put it there.
        trusted.add(found.st_uid)
    if observed := _danger(found, trusted):
        expected = f"a folder of the account {account.name} that no other account can write to"
        raise _refusal(path, observed, expected, "find out who created it, then delete it")
    with opened_folder(name, inside) as folder:
        if not os.path.samestat(found, os.fstat(folder)):
            raise _refusal(path, "it was replaced while it was checked", "a folder that stays", "find out by whom")
        if stat.S_IMODE(found.st_mode) != stat.S_IRWXU:
            os.fchmod(folder, stat.S_IRWXU)
        if found.st_uid != account.uid:
            _hand_over(path, folder, account)


def create_in(folder: int, name: str, mode: int) -> int:
    """A descriptor of a new file in an open folder, which belongs to the folder's owner: root's are given away.

    Raises `FileExistsError` where there is one, of whatever kind.
    """
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
    owner = os.fstat(folder)
    if os.geteuid() == 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def read_end(path: Path) -> str:
    """The last 64 kB of a file of the server's account, as text. No link is followed, and no pipe waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, os.fstat(descriptor).st_size - _END_BYTES))
        return file.read(_END_BYTES).decode("utf-8", "replace")


def make_searchable(path: Path, account: Account) -> None:
    """As root, give the account access to `path`: set the search bit (x) on parent folders that lack it, and log that.

    `path` has no links. The search bit does not let others list the folder. Raises `ConfigurationError` if it cannot be
    set.
    """
    if not account.is_another:
        return
    with ExitStack() as stack:
        folder, opened = Path("/"), stack.enter_context(opened_folder("/"))
        # One by one from the top, so that a link that somebody puts there meanwhile leads nowhere.
        for name in path.parts[1:-1]:
            folder, opened = folder / name, stack.enter_context(opened_folder(name, opened))
            found = os.fstat(opened)
            if found.st_uid == account.uid:
                who, needed = "u", stat.S_IXUSR
            elif found.st_gid == account.gid:
                who, needed = "g", stat.S_IXGRP
            else:
                who, needed = "o", stat.S_IXOTH
            if found.st_mode & needed:
                continue
            try:
                os.fchmod(opened, stat.S_IMODE(found.st_mode) | needed)
            except OSError as error:
                raise ConfigurationError(
                    "the account of the embedded server cannot reach its files",
                    observed=f"cannot make {folder} searchable: {error.strerror}",
                    expected=f"search permission for the account {account.name} on every folder above",
                    where=str(path),
                    next_step=f"run `chmod {who}+x {folder}`, or do not run as root",
                ) from error
            _log.warning("made %s searchable (%s+x) for the account %s, to reach %s", folder, who, account.name, path)


def run_as(command: list[str], account: Account, seconds: float, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a program as the account, and return what it printed on both streams.

    It runs in `directory`, and in a session of its own, so the terminal's Ctrl-C does not reach what it starts. Raises
    `subprocess.TimeoutExpired`, and `ConfigurationError` when it cannot be executed.
    """
    # PGPORT, PGDATA, PGOPTIONS, … are meant for other servers, and messages must not depend on the locale.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=seconds,
            env={**environment, "LC_ALL": "C"},
            # The account may not be able to reach the current folder.
            cwd=directory,
            start_new_session=True,
            umask=0o077,
            user=account.uid if account.is_another else None,
            group=account.gid if account.is_another else None,
            extra_groups=[] if account.is_another else None,
        )
    except PermissionError as error:
        raise ConfigurationError(
            "a program of the embedded server cannot be executed",
            observed=error.strerror,
            expected=f"a file that the account {account.name} may read and execute",
            where=command[0],
            next_step="reinstall the package with a umask of 022, on a file system mounted without noexec",
        ) from error


def _account_for_new_data(project: Path) -> Account:
    """As root: the owner of the project folder or, where that is root or an account without a name, `nobody`.

    `initdb` looks the name of its account up, and gives up where there is none.
    """
    owner = project.stat().st_uid if project.is_dir() else 0
    for find in (partial(pwd.getpwuid, owner), partial(pwd.getpwnam, UNPRIVILEGED)):
        with suppress(KeyError):
            entry = find()
            if entry.pw_uid != 0:
                return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise ConfigurationError(
        f"PostgreSQL does not run as root, and there is no account {UNPRIVILEGED} to run it as",
        next_step="run snapseed as an ordinary user",
    )


def _danger(found: os.stat_result, trusted: set[int]) -> str | None:
    """Why somebody else may have planted a folder, or may write to it; None where nobody may."""
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        return "it is not a folder"
    if found.st_uid not in trusted:
        return f"it belongs to {_name(found.st_uid)}"
    shared = mode & (stat.S_IWGRP | stat.S_IWOTH)
    return f"other accounts can write to it (mode {mode:04o})" if shared else None


def _refusal(path: Path, observed: str, expected: str, advice: str) -> RefusedError:
    """The error about a folder that somebody else may have made or may write to."""
    summary = "a folder of the embedded server is not safe to use"
    return RefusedError(summary, observed=observed, expected=expected, where=str(path), next_step=advice)


def _hand_over(path: Path, folder: int, account: Account) -> None:
    """Give an open folder, and all that is in it, to the account. Raises `ConfigurationError` where root may not."""
    try:
        # Links themselves change hands, never what they point to.
        for _, directories, files, inside in os.fwalk(dir_fd=folder):
            for name in directories + files:
                os.chown(name, account.uid, account.gid, dir_fd=inside, follow_symlinks=False)
        # Last: the owner of the folder itself tells whether the rest is done.
        os.fchown(folder, account.uid, account.gid)
    except OSError as error:
        raise ConfigurationError(
            "PostgreSQL does not run as root, and root may not change to another account here",
            observed=f"cannot give the folder to the account {account.name}: {error.strerror}",
            expected="a root that may change owners; one of a user namespace often may not",
            where=str(path),
            next_step="run snapseed as an ordinary user",
        ) from error


def _name(uid: int) -> str:
    """The name of an account, or its number if it has none."""
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"uid {uid}"
