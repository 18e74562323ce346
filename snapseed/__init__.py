"""Deterministic snapshots of realistic rows, loaded into PostgreSQL by COPY and verified there.

This is the whole public API: what a generator imports, and one function for each thing the command line does. The names
are in `__init__.pyi`. Each is imported on first use, so that `import snapseed`, and with it the command line, does not
wait for polars, pyarrow and psycopg.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
