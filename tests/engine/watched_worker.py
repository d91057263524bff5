"""A worker that tells when a thread touches the event loop of another, as `python -m tests.engine.watched_worker`.

uvloop's loops and sockets are of libuv, which no lock guards: while one thread waits in `uv_run`, which holds no lock
of Python either, a handle that another thread starts or closes breaks its lists, and the process ends with SIGSEGV.
"""

import json
import sys
import threading
import traceback
from typing import Any

import uvloop

from processor.__main__ import main

#: The event of the line that is written to the log.
TOUCHED = "loop_touched_by_another_thread"


class WatchedLoop(uvloop.Loop):
    """A loop that looks who plans its work; whatever starts or closes a handle also does that."""

    _thread: int | None = None

    def run_forever(self) -> None:
        self._thread = threading.get_ident()
        try:
            super().run_forever()
        finally:
            self._thread = None

    def call_soon(self, *args: Any, **options: Any) -> Any:
        self._look()
        return super().call_soon(*args, **options)

    def call_later(self, *args: Any, **options: Any) -> Any:
        self._look()
        return super().call_later(*args, **options)

    def call_at(self, *args: Any, **options: Any) -> Any:
        self._look()
        return super().call_at(*args, **options)

    def _look(self) -> None:
        if self._thread not in (None, threading.get_ident()):
            told = {"event": TOUCHED, "thread": threading.current_thread().name, "stack": traceback.format_stack()}
            sys.stderr.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    uvloop.Loop = uvloop.new_event_loop = WatchedLoop
    main()
