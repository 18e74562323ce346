"""Capture: from a living database to a snapshot."""
