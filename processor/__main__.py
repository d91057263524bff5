"""The entry point of `delivery-status` and of `python -m processor`.

Importing what a worker needs takes a second, and several on a busy machine. A worker that is told to stop meanwhile
has nothing to let go of, and ends as one does that is told later.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run the command."""
    if sys.argv[1:2] == ["worker"]:
        for number in (signal.SIGTERM, signal.SIGINT):
            # Until `run_worker` puts its own there.
            signal.signal(number, lambda *_: os._exit(0))
    from processor.cli import main as run  # noqa: PLC0415 - what takes so long.

    run()


if __name__ == "__main__":
    main()
