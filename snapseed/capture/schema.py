"""The schema of a captured database as SQL: written by pg_dump, as of the snapshot that the rows are read in.

Nothing in it depends on the moment, on the version of pg_dump in its comments, or on who captures, and it has no
password: the same schema gives the same bytes.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress

from snapseed.errors import ConfigurationError, ServerError, SnapshotError
from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows
from snapseed.postgres.connect import Session, Target, for_program, require_session
from snapseed.postgres.dump import UNFILLED, UNUSED, entries
from snapseed.postgres.partitions import read_stages
from snapseed.servers.postgres import EmbeddedPostgres
from snapseed.snapshot.manifest import MOST_BYTES, SchemaFile
from snapseed.snapshot.store import Staging
from snapseed.snapshot.store_folder import writing_to

_OPTIONS = (
    "--schema-only",
    # The role that loads the capture owns everything, and grants privileges as it likes.
    *("--no-owner", "--no-privileges", "--no-security-labels", "--no-tablespaces"),
    # Our records of loads.
    "--exclude-schema=snapseed",
    "--encoding=UTF8",
    "--no-password",
)
# What pg_dump leaves to the role and the database, and what changes how it prints names and defaults.
_PINNED = "-c quote_all_identifiers=off -c lc_monetary=C"
# What acts on the copy from outside, or on every change of its tables, or holds a password; and what belongs to it.
_LEFT_OUT = ("EVENT TRIGGER", "USER MAPPING", "PUBLICATION", "SUBSCRIPTION")
_PARTS_LEFT_OUT = ("PUBLICATION ", *(f"COMMENT {kind} " for kind in _LEFT_OUT), "COMMENT EXTENSION ")
# The server itself gives an extension its comment. It may be there already, and only its owner may comment on it.
_EXTENSIONS = ("EXTENSION ", "COMMENT EXTENSION ")
# What differs between two runs, and a limit that older servers do not know.
_CHANGING = re.compile(r"^(?:\\restrict |-- Dumped (?:from|by) |SET transaction_timeout = ).*\n+", re.MULTILINE)
# The options of foreign servers and tables may hold secrets too.
_WITH_OPTIONS = ("SERVER", "FOREIGN DATA WRAPPER", "FOREIGN TABLE")
_SECRET = re.compile(
    r"""\b(\w*(?:pass|secret|token|key|credential)\w*"? )E?'(?:[^']|'')*'""",
    re.IGNORECASE,
)


def write_schema(session: Session, target: Target, staging: Staging) -> tuple[SchemaFile, tuple[str, ...]]:
    """Write the schema into the snapshot; also returns the names of what is left out of it. Raises as `dump_schema`."""
    text, left_out = dump_schema(session, target)
    file = SchemaFile("schema.sql", len(text), hashlib.sha256(text).hexdigest())
    with writing_to(staging.folder):
        (staging.folder / file.path).write_bytes(text)
    staging.put(file)
    return file, left_out


def dump_schema(session: Session, target: Target) -> tuple[bytes, tuple[str, ...]]:
    """The schema that the transaction of `session` sees, and the names of what is left out of it.

    `target` is what the session is connected to. Raises `ConfigurationError` if there is no pg_dump that is new enough,
    for a pooler, and for a role that may not read every table; `ServerError` with the message of pg_dump if it fails
    otherwise; and `SnapshotError` for a schema that no load would take.
    """
    # Through a pooler, pg_dump would leave its settings to the sessions of others.
    require_session(session, target)
    (snapshot,) = session.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
    program = find_pg_dump(session.info.server_version // 10_000)
    excluded = [f"--exclude-schema={found.schema}" for found in read_stages(session)]
    options = [*_OPTIONS, *excluded, f"--snapshot={snapshot}", f"--lock-wait-timeout={target.lock_timeout}"]
    conninfo, variables = for_program(target, **session.place, options=f"{session.info.options} {_PINNED}")
    command = [program, *options, f"--dbname={conninfo}"]
    done = subprocess.run(command, env=variables | {"LC_ALL": "C"}, capture_output=True, check=False)
    if done.returncode:
        grants = [str(row[0]) for row in session.execute(query("unreadable")).fetchall()]
        steps = [*grants, "or leave the schema out: --without-schema"] if grants else ["run the same command again"]
        kind = ConfigurationError if grants else ServerError
        raise kind(
            "pg_dump cannot read the schema",
            where=target.described,
            observed=" ".join(done.stderr.decode(errors="replace").split()),
            expected="SELECT on every table: pg_dump locks them against changes" if grants else None,
            next_step="\n".join(steps),
        )
    try:
        # The names by which a schema can use an extension, for extensions that it can only use by name.
        found = read_rows(session, query("plain_extensions"))
        plain = {row["name"]: frozenset(filter(None, row["members"])) for row in found}
        text, left_out = _portable(done.stdout.decode(), plain)
        for row in read_rows(session, query("unfilled_views"), but=[]):
            create = f"CREATE MATERIALIZED VIEW {row['name']} AS\n"
            text = text.replace(f"\n\n{create}", f"\n\n{UNFILLED}{create}", 1)
    except UnicodeDecodeError as exc:
        summary, advice = "the schema has texts that are not UTF-8", "rename what has that name, or change the comment"
        raise SnapshotError(summary, where=target.described, observed=str(exc), next_step=advice) from exc
    if len(schema := text.encode()) > MOST_BYTES:
        raise SnapshotError(
            "the schema is too large", observed=f"{len(schema)} bytes", expected=f"{MOST_BYTES} or fewer"
        )
    return schema, left_out


def _portable(dumped: str, plain: Mapping[str, frozenset[str]]) -> tuple[str, tuple[str, ...]]:
    """What pg_dump wrote, without what differs between runs or does not belong in a copy, and the names of the rest."""
    kept, left_out, found = [], [], [(f"{each.type} {each.name}", each) for each in entries(dumped)]
    words = {word for what, each in found if not what.startswith(_EXTENSIONS) for word in re.findall(r"\w+", each.text)}
    for what, entry in found:
        if entry.type in _LEFT_OUT:
            left_out.append(f"{entry.type.lower()} {entry.name.removeprefix('USER MAPPING ')}")
        elif not entry.type:
            kept.append(_CHANGING.sub("", entry.text))
        elif entry.type == "EXTENSION" and not plain.get(entry.name, words) & words:
            kept.append(entry.text.replace("CREATE EXTENSION", f"{UNUSED}CREATE EXTENSION", 1))
        elif entry.type in _WITH_OPTIONS:
            kept.append(_SECRET.sub(r"\1''", entry.text))
        elif not what.startswith(_PARTS_LEFT_OUT):
            kept.append(entry.text)
    return "".join(kept).rstrip("\n") + "\n", tuple(left_out)


def find_pg_dump(major: int) -> str:
    """The pg_dump of the embedded PostgreSQL or on the PATH: the first that is not older than the server."""
    seen, programs = [], [shutil.which("pg_dump")]
    with suppress(ConfigurationError):
        programs.insert(0, str(EmbeddedPostgres.find_program().with_name("pg_dump")))
    for program in filter(None, programs):
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        if (version := re.search(r"\d+", said)) and int(version[0]) >= major:
            return program
        seen.append(f"{program}: {said.strip() or 'no version'}")
    raise ConfigurationError(
        "there is no pg_dump that can read the schema of this server",
        observed="; ".join(seen) or "no pg_dump",
        expected=f"pg_dump of PostgreSQL {major} or newer, on the PATH",
        next_step=f"install it, for example by `apt install postgresql-client-{major}` or `brew install libpq`",
    )
