"""Reach a PostgreSQL server: the embedded one or any other, what its catalogs say, and whether it may be loaded into."""
