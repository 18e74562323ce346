"""Databases that hold a snapshot, made once and then copied: one for each test, or in place of an environment's."""
