"""Capture a living database: what it has, which rows, how they are read, and the snapshot that comes of it."""
