"""The files of a first project, by their paths: configuration and generators. Writes nothing itself."""

from __future__ import annotations

import json
from dataclasses import dataclass

from snapseed.scaffold.plan import ProjectPlan
from snapseed.scaffold.text import module_text, words_text

_SETTINGS = """\
# Rows for the tables of an existing database: `snapseed generate --scale 100 && snapseed load dev`.
# The tables are made by that database's own migrations; snapseed only fills them.

[snapseed]
generators = "generators"
snapshots = "snapshots"
seed = 42
now = 2026-01-01T00:00:00Z       # what generators take for now
default_environment = "dev"

[environments.dev]
snapshot = "dev"
scale = 100
"""


@dataclass(frozen=True)
class Origin:
    """The database that a project was made from: its URL without a password, and its host where it is not this machine.

    `lacks_password` says that the URL had one, which is not written anywhere.
    """

    url: str
    host: str | None = None
    lacks_password: bool = False


def project_files(plan: ProjectPlan, origin: Origin) -> dict[str, str]:
    """The text of each file, by its path in the project."""
    files = {f"generators/{entity.name}.py": module_text(entity) for entity in plan.entities}
    if plan.words:
        files["generators/words.py"] = words_text(plan.words)
    return {"snapseed.toml": _settings(origin), **files}


def _settings(origin: Origin) -> str:
    text = _SETTINGS + f"database = {json.dumps(origin.url, ensure_ascii=False)}\n"
    if origin.lacks_password:
        text = text.rstrip() + "       # its password: PGPASSWORD, or libpq's password file\n"
    if origin.host is not None:
        text += f"allow_hosts = [{json.dumps(origin.host, ensure_ascii=False)}]\n"
    return text
