-- Indexes and constraints by their definitions, since loads rebuild them with other OIDs. The columns that are taken out
-- differ between two indexes of the same definition, or the definition says them better.
SELECT 'index', pg_get_indexdef(i.indexrelid), to_jsonb(i) - '{indexrelid, indcheckxmin, indexprs, indpred}'::text[], c.reloptions::text,
       c.reltablespace::text, c.relispartition::text, obj_description(c.oid, 'pg_class')
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indexrelid >= 16384
   AND c.relnamespace <> 'pg_toast'::regnamespace
UNION ALL
SELECT 'constraint', pg_get_constraintdef(oid), NULL, conname, conrelid::regclass::text, contypid::regtype::text,
       concat_ws(' ', convalidated, conislocal, coninhcount, obj_description(oid, 'pg_constraint'),
                 (SELECT string_agg(tgenabled::text, '' ORDER BY tgtype) FROM pg_trigger WHERE tgconstraint = c.oid))
  FROM pg_constraint c WHERE oid >= 16384
 ORDER BY 1, 2, 4, 5, 6, 7
