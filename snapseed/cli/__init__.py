"""The command line: parse, call one function, show its report. Only this package prints."""

from snapseed.cli.app import main

__all__ = ["main"]
