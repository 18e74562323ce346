"""Snapshots: types, the bytes of values, fingerprints, the manifest, and where the files are. No database driver."""
