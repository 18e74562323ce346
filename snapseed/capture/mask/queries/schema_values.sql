-- Where the schema itself looks as if it had personal values: it travels as it is. Without the values.
WITH texts AS (
  SELECT 'comment on ' || pg_describe_object(classoid, objoid, objsubid) AS place, description AS text,
         classoid, objoid
    FROM pg_description
  UNION ALL
  SELECT pg_describe_object('pg_attrdef'::regclass, oid, 0), pg_get_expr(adbin, adrelid), 'pg_class'::regclass, adrelid
    FROM pg_attrdef
  UNION ALL
  SELECT 'a label of ' || pg_describe_object('pg_type'::regclass, enumtypid, 0), enumlabel, 'pg_type'::regclass, enumtypid
    FROM pg_enum
  UNION ALL
  SELECT pg_describe_object('pg_constraint'::regclass, oid, 0), pg_get_constraintdef(oid), 'pg_constraint'::regclass, oid
    FROM pg_constraint WHERE contype = 'c'
)
-- Objects below 16384 came with the server (transam.h).
SELECT DISTINCT place FROM texts
 WHERE objoid >= 16384 AND text ~ %(pattern)s
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = texts.classoid AND d.objid = texts.objoid AND d.deptype = 'e')
 ORDER BY 1
