-- Who owns a database, whether it is a template, whether this role may act as the owner, and what replication is
-- bound to it.
SELECT pg_get_userbyid(datdba), datistemplate, pg_has_role(datdba, 'USAGE'),
       (SELECT string_agg(what, ', ')
          FROM (SELECT 'replication slot ' || slot_name FROM pg_replication_slots WHERE database = datname
                UNION ALL SELECT 'subscription ' || subname FROM pg_subscription WHERE subdbid = d.oid) bound(what))
  FROM pg_database d WHERE datname = %(database)s
