"""Databases that hold a snapshot."""

from tests.loaded import kinds, kinds_once, loaded, loaded_once, small_chunks

__all__ = ["kinds", "kinds_once", "loaded", "loaded_once", "small_chunks"]
