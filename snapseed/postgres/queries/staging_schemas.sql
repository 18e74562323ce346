-- Where parallel loads fill new partitions: those that run, and those that were killed.
SELECT nspname FROM pg_namespace WHERE starts_with(obj_description(oid, 'pg_namespace'), 'snapseed staging ')
