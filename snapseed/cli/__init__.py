"""The command line: it parses, calls one use case, and shows its report. Only this package prints."""

from snapseed.cli.app import main

__all__ = ["main"]
