"""Committed snapshots in git: rows in its diffs, and merges of branches that changed different entities."""
