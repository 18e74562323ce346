"""Load a snapshot into a database: plan, encode, stream, and the steps of the one transaction."""
