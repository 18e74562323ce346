"""Snapshots of living databases: their schema, and rows whole, in part or masked."""
