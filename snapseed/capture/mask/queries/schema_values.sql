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
  UNION ALL
  SELECT 'the bounds of ' || pg_describe_object('pg_class'::regclass, oid, 0), pg_get_expr(relpartbound, oid),
         'pg_class'::regclass, oid
    FROM pg_class WHERE relispartition
  UNION ALL
  SELECT 'the default of ' || pg_describe_object('pg_type'::regclass, oid, 0), typdefault, 'pg_type'::regclass, oid
    FROM pg_type WHERE typtype = 'd'
  UNION ALL
  SELECT pg_describe_object('pg_class'::regclass, oid, 0),
         CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) ELSE pg_get_indexdef(oid) END, 'pg_class'::regclass, oid
    FROM pg_class WHERE relkind IN ('v', 'm', 'i', 'I') AND oid >= 16384
  UNION ALL
  SELECT pg_describe_object('pg_proc'::regclass, oid, 0), pg_get_functiondef(oid), 'pg_proc'::regclass, oid
    FROM pg_proc WHERE prokind IN ('f', 'p') AND oid >= 16384
  UNION ALL
  SELECT pg_describe_object('pg_policy'::regclass, oid, 0),
         concat(pg_get_expr(polqual, polrelid), ' ', pg_get_expr(polwithcheck, polrelid)), 'pg_policy'::regclass, oid
    FROM pg_policy
  UNION ALL
  SELECT pg_describe_object('pg_trigger'::regclass, oid, 0), pg_get_triggerdef(oid), 'pg_trigger'::regclass, oid
    FROM pg_trigger WHERE NOT tgisinternal
  UNION ALL
  SELECT pg_describe_object('pg_rewrite'::regclass, oid, 0), pg_get_ruledef(oid), 'pg_rewrite'::regclass, oid
    FROM pg_rewrite WHERE rulename <> '_RETURN' AND oid >= 16384
)
-- Objects below 16384 came with the server (transam.h).
SELECT DISTINCT place FROM texts
 WHERE objoid >= 16384 AND text ~ %(pattern)s
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = texts.classoid AND d.objid = texts.objoid AND d.deptype = 'e')
 ORDER BY 1
