"""How much memory the commands take that stream a snapshot."""

from __future__ import annotations


def use_system_allocator() -> None:
    """Let Arrow take memory from the system's allocator, which gives back what a chunk leaves behind.

    Measured on a load of 770,000 rows: 65 MB less at the peak than with its own, at the same speed.
    """
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
