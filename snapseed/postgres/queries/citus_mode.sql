-- For this transaction, if the server has Citus: one connection to each node. It refuses to change reference tables in a
-- transaction that has read a distributed one over connections in parallel.
SELECT set_config(name, 'sequential', true) FROM pg_settings WHERE name = 'citus.multi_shard_modify_mode'
