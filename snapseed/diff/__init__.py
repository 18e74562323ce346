"""Which rows and columns differ between two sides: databases, snapshots, commits."""
