"""Generate snapshots: what entities are, what generators draw, and the parts, files and manifest that come of it."""
