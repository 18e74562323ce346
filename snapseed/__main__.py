"""`python -m snapseed`."""

from snapseed.cli import main

main()
