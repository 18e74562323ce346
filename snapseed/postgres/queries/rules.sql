-- The rewrite rules that are in force.
SELECT w.ev_class::int8 AS of_table, w.rulename AS name, CASE w.ev_type WHEN '2' THEN 'UPDATE' WHEN '3' THEN 'INSERT' ELSE 'DELETE' END AS event,
       w.ev_enabled = 'A' AS always
  FROM pg_rewrite w
 WHERE w.ev_class = ANY (%(oids)s::oid[]) AND w.ev_type IN ('2', '3', '4') AND w.ev_enabled IN ('O', 'A')
 ORDER BY w.rulename
