"""The entry point of `snapseed` and `python -m snapseed`: Ctrl-C ends it with one line, also while it is imported."""

import os
import signal
from types import FrameType

INTERRUPTED = 130


def main() -> None:
    """Run the command line. Until a command begins, nothing has been started that would need an end."""
    signal.signal(signal.SIGINT, _end)
    from snapseed.cli.app import main as run  # noqa: PLC0415 - see above

    run()


def _end(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
