"""Fill partitioned tables over several connections: new partitions, filled beside the old ones, that replace them."""
