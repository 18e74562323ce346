-- The checks of domains that some values in these tables may break, and that this role may drop: what drops each of
-- them, and what adds it again. Values of a domain can be in arrays, rows and ranges, and domains rest on others.
WITH RECURSIVE used AS (
  SELECT atttypid AS type FROM pg_attribute WHERE attrelid = ANY (%(tables)s::oid[]) AND attnum > 0 AND NOT attisdropped
  UNION
  SELECT within.type
    FROM used u JOIN pg_type t ON t.oid = u.type
    LEFT JOIN pg_range r ON r.rngtypid = t.oid OR r.rngmultitypid = t.oid
    LEFT JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
   CROSS JOIN LATERAL (VALUES (t.typbasetype), (t.typelem), (r.rngsubtype), (a.atttypid)) within(type)
   WHERE within.type <> 0
)
SELECT format('ALTER DOMAIN %%I.%%I DROP CONSTRAINT %%I', n.nspname, t.typname, k.conname) AS drop,
       format('ALTER DOMAIN %%I.%%I ADD CONSTRAINT %%I %%s', n.nspname, t.typname, k.conname, pg_get_constraintdef(k.oid))
       || coalesce((SELECT format('; COMMENT ON CONSTRAINT %%I ON DOMAIN %%I.%%I IS %%L', k.conname, n.nspname, t.typname,
                                  d.description)
                      FROM pg_description d WHERE d.classoid = 'pg_constraint'::regclass AND d.objoid = k.oid), '') AS add
  FROM used u JOIN pg_type t ON t.oid = u.type JOIN pg_namespace n ON n.oid = t.typnamespace
  JOIN pg_constraint k ON k.contypid = t.oid
 WHERE NOT k.convalidated AND pg_has_role(t.typowner, 'USAGE')
 ORDER BY k.oid
