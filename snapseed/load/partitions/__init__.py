"""Fill partitioned tables over several connections: new partitions are filled, and then replace the old ones."""
