"""Generate snapshots: declarations of entities, draws for their rows, and the parts they are written in."""
