-- For this transaction, if the server has Citus: one connection to each node, whatever is read or changed.
SELECT set_config(name, 'sequential', true) FROM pg_settings WHERE name = 'citus.multi_shard_modify_mode'
