"""Capture: a snapshot made from a living database."""
