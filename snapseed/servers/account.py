"""The account that an embedded server runs as: ours, or, since PostgreSQL refuses to run as root, one without rights.

Whatever this module changes on folders that are not the server's own is one search bit, and it is logged.
"""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from snapseed.errors import ConfigurationError, RefusedError

ACCOUNT_NAME = "snapseed"

_log = logging.getLogger("snapseed")


@dataclass(frozen=True)
class Account:
    """Who a server runs as."""

    name: str
    uid: int
    gid: int

    @property
    def is_another(self) -> bool:
        """Whether this process must change to the account (it can only as root)."""
        return self.uid != os.geteuid()


def account_for(data_directory: Path) -> Account:
    """The account to run a server as whose data lies in `data_directory`, which need not exist yet.

    Without root it is the current one. As root it is the owner of the data where that is an ordinary account, so that
    root can help out in a user's project without taking it over, and else the system account `snapseed`, which is
    made when it is missing. Raises `RefusedError` for data of somebody else, `ConfigurationError` when the account
    cannot be made.
    """
    uid = os.geteuid()
    try:
        owner = data_directory.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _system_account() if uid == 0 else Account(_name(uid), uid, os.getegid())
    except PermissionError:
        observed = "a folder above it is closed to this account"
    else:
        if uid == 0 and owner.st_uid == 0:
            return _system_account()
        if uid in {0, owner.st_uid}:
            return Account(_name(owner.st_uid), owner.st_uid, owner.st_gid)
        observed = f"owner {_name(owner.st_uid)}"
    raise RefusedError(
        "the data of the embedded server belongs to another account",
        observed=observed,
        expected=f"owner {_name(uid)}",
        where=str(data_directory),
        next_step="run the command as that account (or as root), or remove the folder to start afresh",
    )


def private_directory(path: Path, account: Account) -> None:
    """Make `path` a folder that only `account` can enter.

    An existing one is used when it is the account's own (or, as root, root's: then it is handed over with all it
    holds), and nobody else could write to it. Raises `RefusedError` otherwise: what lies there may be a trap.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        observed = "it is no folder"
    elif found.st_uid not in {account.uid, os.geteuid()}:
        observed = f"it belongs to {_name(found.st_uid)}"
    elif mode & (stat.S_IWGRP | stat.S_IWOTH):
        observed = f"other accounts can write to it (mode {mode:04o})"
    else:
        if mode != stat.S_IRWXU:
            path.chmod(stat.S_IRWXU)
        if found.st_uid != account.uid:
            _hand_over(path, account)
        return
    raise RefusedError(
        "a folder of the embedded server is not safe to use",
        observed=observed,
        expected=f"a folder of {account.name} that nobody else can write to",
        where=str(path),
        next_step="find out who made it, then remove it",
    )


def write_owned(path: Path, text: str, account: Account) -> None:
    """Replace `path` by a file of the account with this text, whole or not at all.

    The new file is made beside it and renamed, so a link that somebody planted at `path` is replaced, not followed.
    """
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if account.is_another:
            os.fchown(descriptor, account.uid, account.gid)
        file.write(text)
    new.replace(path)


def make_searchable(path: Path, account: Account) -> None:
    """Let the account reach `path`: where a folder above it lacks the search bit (o+x), set that, and say so.

    With that bit alone nobody can list the folder. Does nothing without root: then the account is the current one.
    """
    if not account.is_another:
        return
    for folder in reversed(path.resolve().parents):
        found = folder.stat()
        if found.st_uid == account.uid:
            needed = stat.S_IXUSR
        elif found.st_gid == account.gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if found.st_mode & needed:
            continue
        try:
            folder.chmod(stat.S_IMODE(found.st_mode) | needed)
        except OSError as error:
            raise ConfigurationError(
                "the account of the embedded server cannot reach its files",
                observed=f"{folder} cannot be made searchable: {error.strerror}",
                expected=f"search permission for {account.name} on every folder above",
                where=str(path),
                next_step=f"run `chmod o+x {folder}`, or do not run as root",
            ) from error
        _log.warning("made %s searchable (%s), so that %s can reach %s", folder, _bit(needed), account.name, path)


def run_as(
    command: list[str], account: Account, seconds: float, directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program of a server as the account, in a session of its own, and return what it said on both streams.

    The session keeps the terminal's Ctrl-C from what the program starts. `directory` (default: the root folder) is the
    working folder. Raises `subprocess.TimeoutExpired`, and `ConfigurationError` when it cannot be executed.
    """
    # PGPORT, PGDATA, PGOPTIONS, … of the caller are meant for other servers; messages shall not follow a locale.
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
            # The caller's folder may be out of the account's reach.
            cwd=directory or "/",
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
            expected=f"a file that {account.name} may read and execute",
            where=command[0],
            next_step="reinstall the package with a umask of 022, on a file system mounted without noexec",
        ) from error


def _system_account() -> Account:
    """The system account `snapseed`, made when it is missing."""
    with suppress(KeyError):
        return _existing()
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    observed = "there is no useradd on this machine"
    if program is not None:
        command = [program, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT_NAME]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        # Not its exit code: a process of another project may have made the account at the same moment.
        with suppress(KeyError):
            return _existing()
        observed = made.stderr.strip() or f"useradd ended with {made.returncode}"
    raise ConfigurationError(
        "PostgreSQL does not run as root, and there is no other account to run it as",
        observed=observed,
        expected=f"a system account named {ACCOUNT_NAME}",
        next_step=f"create the account {ACCOUNT_NAME}, or run snapseed as an ordinary user",
    )


def _existing() -> Account:
    entry = pwd.getpwnam(ACCOUNT_NAME)
    if entry.pw_uid == 0:
        raise ConfigurationError(
            f"the account {ACCOUNT_NAME} is root by another name",
            observed="its uid is 0",
            expected="an account without rights, since PostgreSQL does not run as root",
            next_step=f"give {ACCOUNT_NAME} a uid of its own",
        )
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _hand_over(path: Path, account: Account) -> None:
    # Links themselves change hands, never what they point to.
    for folder, directories, files in os.walk(path):
        for name in directories + files:
            os.chown(os.path.join(folder, name), account.uid, account.gid, follow_symlinks=False)  # noqa: PTH118 - 3x
    # Last: the owner of the folder itself tells whether the rest is done.
    os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _bit(needed: int) -> str:
    return {stat.S_IXUSR: "u+x", stat.S_IXGRP: "g+x", stat.S_IXOTH: "o+x"}[needed]


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
