"""Run a schema file inside the load's transaction: the snapshot's own or the project's, also one that pg_dump wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import psycopg
from msgspec import UNSET
from psycopg import errors, sql

from snapseed.config import Project
from snapseed.config.settings import decoded
from snapseed.errors import ConfigurationError, SchemaError, SnapseedError
from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows, read_server
from snapseed.postgres.connect import Session, role_search_path
from snapseed.postgres.dump import UNFILLED, UNUSED, Entry, entries
from snapseed.postgres.failures import translate
from snapseed.snapshot.store import Snapshot

# What pg_dump writes and we do without: commands of psql, and limits, which our session has not, and of which an older
# server does not know all.
_LEFT_OUT = re.compile(r"^(?:\\(?:un)?restrict .*|SET \w+_timeout = 0;)\r?$", re.MULTILINE)
# How values are stored makes no difference to what they are, and not every server can do it.
_LZ4 = re.compile(r"^ALTER TABLE ONLY .* SET COMPRESSION lz4;\r?$", re.MULTILINE)
_ROWS = re.compile(r"^COPY .* FROM stdin\b.*;\r?$", re.MULTILINE | re.IGNORECASE)
_NAME = re.compile('"(.+)"')
# An identifier as pg_dump writes it; and the roles in an entry: of a policy, of privileges, or its owner at the end.
_ID = r'(?:"(?:[^"]|"")+"|\w+)'
_POLICY = re.compile(
    rf"^CREATE POLICY {_ID} ON {_ID}(?:\.{_ID})?(?: AS \w+)?(?: FOR \w+)? TO (?P<roles>{_ID}(?:, {_ID})*)", re.MULTILINE
)
_PRIVILEGES = re.compile(rf" (?:TO|FROM|FOR ROLE) (?P<roles>{_ID})(?=;| IN SCHEMA | GRANT | REVOKE | WITH )")
_OWNER = re.compile(rf"^ALTER .+ OWNER TO (?P<roles>{_ID});\s*\Z", re.MULTILINE)
_ROLES = {"": None, "POLICY": _POLICY, "ACL": _PRIVILEGES, "DEFAULT ACL": _PRIVILEGES}
_DUPLICATES = (errors.DuplicateTable, errors.DuplicateObject, errors.DuplicateFunction, errors.DuplicateSchema)
# What the file may have changed of the session, beyond what a load pins.
_RESTORE = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL"


@dataclass(frozen=True)
class Schema:
    """SQL that creates tables: the file it is in, its text, and for a capture the source's major version."""

    where: str
    text: str
    server: int | None = None

    @property
    def unfilled(self) -> list[str]:
        """The materialized views that have no data in the source."""
        return re.findall(
            f"^{re.escape(UNFILLED)}CREATE MATERIALIZED VIEW ({_ID}\\.{_ID}) AS$", self.text, re.MULTILINE
        )

    def place(self, position: int) -> str:
        """The file, and the line of a position in its text; without a line for one that is not known, below 0."""
        return self.where if position < 0 else f"{self.where}, line {self.text.count(chr(10), 0, position) + 1}"


def find_schema(project: Project, snapshot: Snapshot) -> Schema | None:
    """The schema that creates the tables: the snapshot's own if it was captured, or else the project's, if it has one.

    Raises `ConfigurationError` if the project's cannot be read, and `SnapshotError` if the snapshot's was altered.
    """
    capture, file = snapshot.manifest.capture, project.schema
    if capture is not UNSET and capture.schema is not None:
        text = snapshot.read_schema(capture.schema).decode(errors="replace")
        return Schema(snapshot.path(capture.schema), text, capture.server)
    try:
        return None if file is None else Schema(str(file), decoded(file.read_bytes()))
    except (OSError, ValueError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
        fix = "check `schema` in snapseed.toml"
        raise ConfigurationError(
            "the schema file cannot be read", where=str(file), observed=reason, next_step=fix
        ) from exc


def apply_schema(connection: Session, schema: Schema) -> list[str]:
    """Run the file, and restore the session's settings. Returns the extensions that the server lacks and nothing uses.

    It runs inside PL/pgSQL's EXECUTE, where the server refuses COMMIT before it commits anything. Raises
    `ConfigurationError` for that, and for rows and commands of psql; `SchemaError` that names all extensions and roles
    that the server lacks; `LoadError` with the line for any other failure.
    """
    if rows := _ROWS.search(schema.text):
        raise ConfigurationError(
            "the schema file holds rows",
            where=schema.place(rows.start()),
            observed=rows[0],
            expected="the tables alone: their rows are in the snapshot",
            next_step="write the file by pg_dump --schema-only",
        )
    schema, left_out = _supported(connection, schema)
    text = _LEFT_OUT.sub("", schema.text)
    if _LZ4.search(text) and "lz4" not in read_server(connection).toast_compressions:
        text = _LZ4.sub("", text)
    body = sql.SQL("BEGIN EXECUTE {}; END").format(sql.Literal(text)).as_string(connection)
    try:
        with role_search_path(connection):
            connection.execute(sql.SQL("DO LANGUAGE plpgsql {}").format(sql.Literal(body)))
    except psycopg.Error as exc:
        raise _error(exc, replace(schema, text=text), connection.info.server_version // 10_000) from exc
    connection.execute(_RESTORE)
    connection.pin_settings()
    return left_out


def _supported(connection: Session, schema: Schema) -> tuple[Schema, list[str]]:
    """The schema without the extensions that this server lacks and nothing uses; and their names.

    Raises `SchemaError` that names all else that a file of pg_dump needs of the server, before anything is created.
    """
    parts = list(entries(schema.text))
    extensions = {part.name: part for part in parts if part.type == "EXTENSION"}
    roles = [role for part in parts for role in _roles(part)]
    found = read_rows(connection, query("lacking"), extensions=list(extensions), roles=roles)
    unused = [name for row in found if (name := row["extension"]) and UNUSED in extensions[name].text]
    for name in unused:
        lines = "\n" * extensions[name].text.count("\n")
        schema = replace(schema, text=schema.text.replace(extensions[name].text, lines, 1))
    if lacking := [row for row in found if row["extension"] not in unused]:
        fixes = [row["fix"] for row in lacking if row["fix"]]
        has_all = len(fixes) == len(lacking)
        steps = [] if has_all else ["install the extensions on the server's machine, or load into another server"]
        creates = "this SQL creates the roles:"
        if schema.server is None:
            creates = f"write the file by pg_dump --no-owner --no-privileges; or {creates}"
        raise SchemaError(
            "the server lacks what the schema needs",
            where=schema.where,
            observed="; ".join(row["problem"] for row in lacking),
            next_step="\n".join([*steps, *([creates, *fixes] if fixes else [])]),
        )
    return schema, unused


def _roles(entry: Entry) -> list[str]:
    """The roles that an entry needs."""
    pattern = _ROLES.get(entry.type, _OWNER)
    found = pattern.finditer(entry.text) if pattern else ()
    names = [name for match in found for name in re.findall(_ID, match["roles"]) if name != "PUBLIC"]
    return [name[1:-1].replace('""', '"') if name.startswith('"') else name for name in names]


def _error(exc: psycopg.Error, schema: Schema, major: int) -> SnapseedError:
    """What a failure of the file means, with the line."""
    text = schema.text
    message = exc.diag.message_primary or ""
    if isinstance(exc, errors.FeatureNotSupported) and "transaction" in message:
        return ConfigurationError(
            "the schema file begins or ends a transaction",
            where=schema.where,
            observed=message,
            expected="a schema without BEGIN, COMMIT and ROLLBACK, so that a load changes everything or nothing",
        )
    # The file and the line, in place of the context, which would repeat the whole file.
    place = int(exc.diag.internal_position or 0) - 1 if exc.diag.internal_query == text else -1
    if text.startswith("\\", max(place, 0)):
        return ConfigurationError(
            "the schema file has a command of psql, but the server runs it",
            where=schema.place(place),
            observed=text[place:].partition("\n")[0],
            expected="SQL alone",
            next_step="remove the line, or write out what it does in SQL",
        )
    error = translate(exc, "applying the schema", schema.where)
    # The server's functions that look up a role: the message is in the server's language.
    if (exc.diag.source_function or "").startswith(("get_role", "check_can_set_role")):
        name = _NAME.search(message)
        place = text.find(name[1]) if name else place
        error.next_step = "create the role, or write the file by pg_dump --no-owner --no-privileges"
    elif exc.diag.source_function == "execute_extension_script":
        names = [entry.name for entry in entries(text) if entry.type == "EXTENSION"]
        creates = (sql.SQL("CREATE EXTENSION IF NOT EXISTS {};").format(sql.Identifier(name)) for name in names)
        error.next_step = "\n".join(["let a superuser run this SQL:", *(create.as_string() for create in creates)])
    elif isinstance(exc, _DUPLICATES):
        error.next_step = "load into an empty database, or drop everything in this one by --recreate"
    elif schema.server and schema.server > major:
        error.next_step = f"this server is PostgreSQL {major}: load into {schema.server}, as the source is, or newer"
    error.where = schema.place(place)
    return error
