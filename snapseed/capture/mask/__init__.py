"""Masks: rules that replace personal values while a database is captured, so that they never reach the disk."""
