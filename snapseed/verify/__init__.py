"""Compare files and rows with a manifest, and say where they differ."""
