"""An event loop whose time is a number, and processes that can be stopped between any two of their callbacks.

Where nothing is ready, time jumps to the next timer; so an hour of waiting costs nothing, and what happens depends on
nothing but the program and its random numbers. Callbacks that are ready run in the order in which they became so: that
is what asyncio promises, and programs may rely on it. Other orders come from the network's delays.

A callback belongs to the process in whose context it was scheduled. A process that is frozen (SIGSTOP) keeps its
callbacks until it is thawed; one that is dead (SIGKILL) keeps them for good. Either may begin between any two
callbacks, which is at any `await` of the program.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

#: The process that a callback belongs to; None: the world outside, which never stops.
_PROCESS: ContextVar["Process | None"] = ContextVar("process", default=None)

#: What is scheduled in it belongs to no process.
OUTSIDE = Context()


class DeadlockError(Exception):
    """Nothing is ready and nothing is scheduled: all wait for ever."""


class Process:
    """What stops and goes on as one."""

    def __init__(self, loop: "VirtualLoop", name: str) -> None:
        self.name = name
        self.is_alive = True
        self.is_frozen = False
        #: Callbacks that it has run, and at which of them it does something to itself.
        self.steps = 0
        self.acts_at = -1
        self.act: Callable[[], None] = lambda: None
        self._loop = loop
        self._held: list[asyncio.Handle] = []
        self.context = copy_context()
        self.context.run(_PROCESS.set, self)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run a coroutine in this process."""
        return self.context.copy().run(self._loop.create_task, coroutine)

    def freeze(self) -> None:
        self.is_frozen = True

    def thaw(self) -> None:
        """Run all that was held, in its order."""
        self.is_frozen = False
        held, self._held = self._held, []
        self._loop._ready.extend(held)

    def kill(self) -> None:
        self.is_alive, self.is_frozen = False, True

    def may_run(self, handle: asyncio.Handle) -> bool:
        """Count a callback that is about to run; keep it when the process does not run."""
        if not self.is_frozen:
            self.steps += 1
            if self.steps == self.acts_at:
                self.act()
        if self.is_frozen:
            self._held.append(handle)
        return not self.is_frozen


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks, and lets time jump where none is ready."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        #: Every task, so that the garbage collector, whose moments are nobody's to choose, ends none.
        self.tasks: list[asyncio.Task[Any]] = []
        self.set_task_factory(self._make_task)
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        return self._now

    def _make_task(self, _loop: Any, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
        task = asyncio.Task(coroutine, loop=self, **options)
        self.tasks.append(task)
        return task

    def _write_to_self(self) -> None:
        raise AssertionError("a simulation has one thread")

    def _process_events(self, event_list: Any) -> None:
        raise AssertionError("a simulation has no sockets")

    def _run_once(self) -> None:
        ready = self._ready
        if not ready and not self._stopping:
            self._jump()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(_PROCESS)
            if process is None or process.may_run(handle):
                handle._run()

    def _jump(self) -> None:
        """Let time pass until something is ready."""
        scheduled = self._scheduled
        while scheduled and (scheduled[0]._cancelled or not self._ready):
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if handle._cancelled:
                self._timer_cancelled_count -= 1
                continue
            self._now = max(self._now, handle._when)
            self._ready.append(handle)
        if not self._ready:
            raise DeadlockError
