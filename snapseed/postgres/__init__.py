"""Reach a PostgreSQL server, embedded or not: its catalogs, and whether it may be loaded into."""
