"""What a database holds apart from the rows of a snapshot: fast digests of its schema and of all other rows."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import LiteralString

from psycopg import sql

from snapseed.postgres.connect import Connection

# OIDs below are the server's own objects, the same in every database (PostgreSQL manual, 67.2: transam.h).
_FIRST_NORMAL_OID = 16384
# Catalogs of the database, and the OID column that tells its own objects from the server's. Left out: statistics, the
# contents of large objects, what only superusers may read, and indexes and constraints. Loads rebuild these, so they
# count by their definitions.
_CATALOGS = """
SELECT relname, attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND NOT relisshared
   AND attnum = CASE WHEN relname = 'pg_depend' THEN 2 ELSE 1 END
   AND relname NOT IN ('pg_constraint', 'pg_index', 'pg_largeobject', 'pg_statistic', 'pg_statistic_ext_data',
                       'pg_user_mapping')
 ORDER BY 1
"""
_NO_INDEX: LiteralString = "NOT EXISTS (SELECT FROM pg_catalog.pg_class i WHERE i.oid = {} AND i.relkind IN ('i', 'I'))"
_ONLY: dict[str, LiteralString] = {
    "pg_attribute": _NO_INDEX.format("attrelid"),
    "pg_class": "relkind NOT IN ('i', 'I')",
    # Which objects belong to an extension, and which column a sequence belongs to.
    "pg_depend": "(deptype = 'e' OR deptype <> 'n' AND objid IN (SELECT seqrelid FROM pg_catalog.pg_sequence))",
    "pg_description": "classoid <> 'pg_constraint'::regclass AND " + _NO_INDEX.format("objoid"),
    "pg_inherits": _NO_INDEX.format("inhrelid"),
    "pg_trigger": "NOT tgisinternal",
}
_DEFINITIONS = """
SELECT 'index', pg_get_indexdef(i.indexrelid), to_jsonb(i) - %(made)s::text[], c.reloptions::text,
       c.reltablespace::text, c.relispartition::text, obj_description(c.oid, 'pg_class')
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indexrelid >= 16384
   AND c.relnamespace <> 'pg_toast'::regnamespace
UNION ALL
SELECT 'constraint', pg_get_constraintdef(oid), NULL, conname, conrelid::regclass::text, contypid::regtype::text,
       concat_ws(' ', convalidated, conislocal, coninhcount, obj_description(oid, 'pg_constraint'),
                 (SELECT string_agg(tgenabled::text, '' ORDER BY tgtype) FROM pg_trigger WHERE tgconstraint = c.oid))
  FROM pg_constraint c WHERE oid >= 16384
 ORDER BY 1, 2, 4, 5, 6, 7
"""
# What differs between two indexes of the same definition, and what the definition says better.
_MADE = ["indexrelid", "indcheckxmin", "indexprs", "indpred"]
# What loads, VACUUM and ANALYZE change although the schema stays the same.
_MOVING = [
    "indcheckxmin",
    "relallfrozen",
    "relallvisible",
    "relfilenode",
    "relfrozenxid",
    "relhasindex",
    "relhasrules",
    "relhastriggers",
    "relminmxid",
    "relpages",
    "reltuples",
]


def schema_digest(connection: Connection) -> str:
    """A digest of everything that the catalogs say about this database, except sizes and files.

    Most objects count with their OIDs, which a copy shares with its template. So a table that was dropped and created
    again counts as another one: the digest may differ for the same schema, but is never the same for different ones.
    """
    catalogs = connection.execute(_CATALOGS).fetchall()
    parts = [_catalog(str(name), str(key)) for name, key in catalogs]
    query = sql.SQL(" UNION ALL ").join(parts) + sql.SQL(" ORDER BY 1")
    rows = connection.execute(query, {"moving": _MOVING}).fetchall()
    rows += connection.execute(_DEFINITIONS, {"made": _MADE}).fetchall()
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def outside_rows(connection: Connection, inside: Collection[int]) -> dict[str, str]:
    """A fingerprint of the contents of each table and sequence that the snapshot does not fill (`inside` has its OIDs).

    Reads all of their rows, without snapseed's own tables. `UNREADABLE` is for what this role may not read.
    """
    relations = connection.execute(_OUTSIDE, {"inside": list(inside)}).fetchall()
    queries = [
        _QUERIES[str(how)].format(
            label=sql.Literal(f"{schema}.{name}"), relation=sql.Identifier(str(schema), str(name))
        )
        for schema, name, how in relations
    ]
    if not queries:
        return {}
    rows = connection.execute(sql.SQL(" UNION ALL ").join(queries)).fetchall()
    return {str(name): str(fingerprint) for name, fingerprint in rows}


def _catalog(name: str, key: str) -> sql.Composed:
    table = sql.Identifier("pg_catalog", name)
    condition: sql.Composable = sql.SQL(_ONLY.get(name, "true"))
    if name != "pg_namespace":  # the privileges of the schema "public" count too
        condition += sql.SQL(" AND {} >= {}").format(sql.Identifier(key), sql.Literal(_FIRST_NORMAL_OID))
    return sql.SQL(
        """SELECT {label} AS catalog, count(*),
                  coalesce(sum(hashtextextended((to_jsonb(t) - %(moving)s::text[])::text, 0)), 0)::text
             FROM {table} t WHERE {condition}"""
    ).format(label=sql.Literal(name), table=table, condition=condition)


_OUTSIDE = """
WITH RECURSIVE inside AS (
    SELECT unnest(%(inside)s::oid[]) AS oid UNION SELECT inhrelid FROM pg_inherits JOIN inside ON inhparent = inside.oid
)
SELECT n.nspname, c.relname,
       CASE WHEN NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
                 OR row_security_active(c.oid) THEN 'unreadable' WHEN c.relkind = 'S' THEN 'sequence' ELSE 'rows' END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE (c.relkind IN ('r', 'S') OR c.relkind = 'm' AND c.relispopulated) AND c.oid NOT IN (SELECT oid FROM inside)
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'snapseed') AND NOT starts_with(n.nspname, 'pg_')
   AND NOT EXISTS (SELECT FROM pg_depend d  -- the sequence of a table that is filled
                    WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass
                      AND d.refobjid IN (SELECT oid FROM inside))
 ORDER BY 1, 2
"""
UNREADABLE = "unreadable"
_QUERIES = {
    "rows": sql.SQL(
        "SELECT {label}, count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM ONLY {relation} t"
    ),
    "sequence": sql.SQL("SELECT {label}, last_value || ' ' || is_called FROM {relation}"),
    UNREADABLE: sql.SQL("SELECT {label}, 'unreadable'"),
}
