"""Every setting that a role or a database can have, with a value that might change a result or end a run."""

from __future__ import annotations

from psycopg import sql

from tests.conftest import Connection

# Texts have no smallest or other value. Those that name a thing name one that is missing, where the server allows it.
TEXTS = {
    "datestyle": "German, DMY",
    "intervalstyle": "iso_8601",
    "timezone": "Asia/Kathmandu",
    "application_name": "somebody",
    "backtrace_functions": "errfinish",
    "client_encoding": "LATIN1",
    "createrole_self_grant": "set, inherit",
    "debug_io_direct": "",
    "default_table_access_method": "heap",
    "default_tablespace": "missing",
    "default_text_search_config": "pg_catalog.german",
    "lc_messages": "POSIX",
    "lc_monetary": "POSIX",
    "lc_numeric": "POSIX",
    "lc_time": "POSIX",
    "log_connections": "all",
    "restrict_nonsystem_relation_kind": "view, foreign-table",
    "temp_tablespaces": "missing",
    "timezone_abbreviations": "India",
    "wal_consistency_checking": "heap",
}
# What is more awkward than the smallest number and the last choice. These limits end nothing here: too little time or
# memory would end a run.
CHOSEN = {
    "default_transaction_isolation": "serializable",
    "extra_float_digits": "-15",
    "idle_in_transaction_session_timeout": "30000",
    "idle_session_timeout": "30000",
    "lock_timeout": "30000",
    "max_parallel_workers": "8",
    "max_parallel_workers_per_gather": "4",
    "max_stack_depth": "100",
    "plan_cache_mode": "force_generic_plan",
    "session_replication_role": "replica",
    "statement_timeout": "30000",
    "temp_file_limit": "1024",
    "transaction_timeout": "30000",
}
# What means something: another account, other schemas, a guard, programs that the server loads, and settings that last
# for a transaction only.
LEFT_OUT = {
    *("role", "session_authorization", "search_path", "default_transaction_read_only", "event_triggers"),
    *("transaction_read_only", "transaction_isolation", "transaction_deferrable", "seed", "is_superuser"),
    *("dynamic_library_path", "extension_control_path", "jit_provider", "local_preload_libraries"),
    *("session_preload_libraries", "allow_system_table_mods", "zero_damaged_pages", "huge_pages"),
}
_SETTINGS = """
SELECT lower(name), vartype, setting, boot_val, min_val, max_val, coalesce(enumvals, '{}')::text FROM pg_settings
 WHERE context IN ('user', 'superuser') AND NOT name ~ '[.]' ORDER BY name
"""


def awkward_settings(connection: Connection) -> dict[str, str]:
    """A value for each setting of this server that a role or a database can have, other than the usual one."""
    found = dict[str, str]()
    for row in connection.execute(_SETTINGS).fetchall():
        name, kind, setting, usual, least, most, choices = map(str, row)
        others = [choice for choice in choices.strip("{}").split(",") if choice != usual]
        if kind == "bool":
            found[name] = "off" if usual == "on" else "on"
        elif kind == "string":
            found |= {name: TEXTS[name]} if name not in LEFT_OUT else {}
        elif kind != "enum":
            found[name] = least if setting != least else most
        elif others:
            found[name] = others[-1].strip('"')
    found |= {name: value for name, value in CHOSEN.items() if name in found}
    return {name: value for name, value in found.items() if name not in LEFT_OUT}


def assign(connection: Connection, kind: str, name: str, settings: dict[str, str]) -> None:
    """Make these settings of a role or a database (`kind` is `ROLE` or `DATABASE`), in place of all others."""
    place = sql.SQL("ALTER {} {} ").format(sql.SQL("ROLE" if kind == "ROLE" else "DATABASE"), sql.Identifier(name))
    connection.execute(place + sql.SQL("RESET ALL"))
    for setting, value in settings.items():
        change = sql.SQL("SET {} = {}").format(sql.Identifier(setting), sql.Literal(value))
        connection.execute(place + change)
