"""Logging: one line for each notable event and none for each message, as JSON, or readable on a terminal.

Repeated warnings are limited to a few lines a minute; `delivery_warnings_total` counts all of them.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TextIO

import orjson
import structlog
from structlog.typing import EventDict, ExcInfo

from processor.printable import printable

#: The events of our warnings and errors: a closed set, for each is a label of the metric that counts them.
WARNINGS = (
    "audit_unwritten",
    "batch_not_taken",
    "batch_refused",
    "breakdown_unreadable",
    "broker_away",
    "certificate_unreadable",
    "clock_skewed",
    "conservation_broken",
    "counts_rebuilt",
    "dead_letters",
    "follower_failed",
    "follower_waits",
    "gateway_failed",
    "gateway_not_heard",
    "holders_unknown",
    "kafka_away",
    "list_share_unreadable",
    "lost_marker_written",
    "member_not_asked",
    "membership_failed",
    "membership_over",
    "not_closed_in_order",
    "offset_ahead",
    "page_failed",
    "partition_reopens",
    "predecessor_ended",
    "record_refused",
    "record_unreadable",
    "records_expired_unread",
    "report_unreadable",
    "request_failed",
    "row_unreadable",
    "secret_unreadable",
    "settings_differ",
    "sign_out_not_told",
    "snapshot_failed",
    "sns_unavailable",
    "sns_unsubscribed",
    "spool_failed",
    "spooled_record_damaged",
    "store_not_flushed",
    "store_rebuilt",
    "task_does_not_end",
    "topics_changed",
    "transaction_hangs",
    "transaction_lost",
    "user_header_ignored",
    "users_unreadable",
    "webhook_failed",
    "webhook_malformed",
    "webhook_refused",
    "worker_failed",
    "wrong_tokens",
)

#: The labels of libraries' warnings, by the start of their loggers' names; and that of all others.
_LIBRARIES = {"aiokafka": "aiokafka", "faust": "faust", "mode": "faust"}
OTHER_WARNING = "other"

#: Every value of the label.
KNOWN_WARNINGS: tuple[str, ...] = (*WARNINGS, *dict.fromkeys(_LIBRARIES.values()), OTHER_WARNING)

#: Lines of one reason that pass in a window, the window's seconds, and the number of reasons to remember.
_LINES = 5
_WINDOW_SECONDS = 60.0
_REASONS_MAX = 500

#: Warnings of libraries are the same if they begin alike; names and numbers follow further on.
_PREFIX = 40


#: What aiokafka tells as an error each time that it asks again for a group's coordinator, and Kafka's number for there
#: being none yet, as on every broker that is new.
_ASKS_AGAIN = "Group Coordinator Request failed"
_COORDINATOR_NOT_AVAILABLE = 15

#: Seconds for which that is nothing to be told of, and without such a line after which it begins anew.
_PASSING_SECONDS = 30.0


class Patience(logging.Filter):
    """Withholds what a library mends by itself, unless it lasts; until then it is no warning, so it is not counted.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._began = self._last = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is shown."""
        if not _asks_again(record):
            return True
        now = self._clock()
        if now - self._last > _PASSING_SECONDS:
            self._began = now
        self._last = now
        return now - self._began >= _PASSING_SECONDS


def _asks_again(record: logging.LogRecord) -> bool:
    if not str(record.msg).startswith(_ASKS_AGAIN) or not isinstance(record.args, tuple):
        return False
    return any(getattr(arg, "errno", None) == _COORDINATOR_NOT_AVAILABLE for arg in record.args)


class Limiter(logging.Filter):
    """Suppresses repeated warnings and errors, and counts them nevertheless.

    Five lines of one reason pass in a minute. The first line of a later minute has the number of suppressed lines in
    the field `withheld`.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        #: Called with the label of each warning.
        self.count: Callable[[str], object] = lambda _: None
        self._windows: OrderedDict[_Reason, _Window] = OrderedDict()
        # Faust's consumer logs from a thread of its own.
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is shown."""
        if record.levelno < logging.WARNING:
            return True
        reason = _reason_of(record)
        self.count(reason.label)
        with self._lock:
            window = self._window(reason)
            window.lines += 1
            if window.lines > _LINES:
                window.withheld += 1
                return False
            record.withheld, window.withheld = window.withheld, 0
        return True

    def _window(self, reason: _Reason) -> _Window:
        now = self._clock()
        window = self._windows.get(reason)
        if window is None:
            window = self._windows[reason] = _Window(now)
            if len(self._windows) > _REASONS_MAX:
                self._windows.popitem(last=False)
        elif now - window.since >= _WINDOW_SECONDS:
            window.since, window.lines = now, 0
        return window


class _Reason(NamedTuple):
    """The key of lines that are the same."""

    label: str
    event: str
    why: str


@dataclass
class _Window:
    since: float
    lines: int = 0
    withheld: int = 0


def _reason_of(record: logging.LogRecord) -> _Reason:
    if isinstance(record.msg, dict):
        event = str(record.msg.get("event"))
        return _Reason(event if event in WARNINGS else OTHER_WARNING, event, str(record.msg.get("reason", "")))
    label = _LIBRARIES.get(record.name.partition(".")[0], OTHER_WARNING)
    return _Reason(label, record.name, str(record.msg)[:_PREFIX])


_limiter = Limiter()
_patience = Patience()


def count_warnings(count: Callable[[str], object]) -> None:
    """Call a function for each warning and error from now on.

    Args:
        count: called with one of KNOWN_WARNINGS, from any thread.
    """
    _limiter.count = count


def configure(level: str, form: str) -> None:
    """Send our log and that of the libraries to standard error.

    Args:
        level: DEBUG, INFO, WARNING or ERROR; of libraries, at least WARNING.
        form: json, console, or auto: console on a terminal.
    """
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # A stack trace is one field of its line; on a terminal it is drawn.
    traced: list[Any] = [structlog.processors.format_exc_info] if as_json else []
    structlog.configure(
        processors=[*shared, *traced, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_handler([*shared, *traced], as_json=as_json)]
    root.setLevel(max(logging.WARNING, logging.getLevelName(level)))
    logging.getLogger("processor").setLevel(level)
    for name in _LIBRARIES:
        # They set levels of their own.
        logging.getLogger(name).setLevel(root.level)


def _handler(foreign: list[Any], *, as_json: bool) -> logging.Handler:
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=_line)
        if as_json
        else structlog.dev.ConsoleRenderer(exception_formatter=_write_exception)
    )
    drawn: list[Any] = [] if as_json else [_make_printable]
    handler = logging.StreamHandler(sys.stderr)
    # In this order: what is passing is not counted.
    handler.addFilter(_patience)
    handler.addFilter(_limiter)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_name_library, *foreign],
            processors=[_tell_withheld, structlog.stdlib.ProcessorFormatter.remove_processors_meta, *drawn, renderer],
        )
    )
    return handler


def _line(line: EventDict, **_: Any) -> str:
    try:
        return orjson.dumps(line, default=repr).decode()
    except TypeError:
        # Halves of surrogate pairs, as names of files have them: the standard library escapes those.
        return json.dumps(line, default=repr)


#: What is drawn over several lines, by formatters of its own.
_TRACES = frozenset({"exc_info", "exception", "stack"})


def _make_printable(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """Escape values, so that none begins a line of its own on a terminal or controls it."""
    for name, value in line.items():
        if name in _TRACES:
            line[name] = _printable_lines(value) if isinstance(value, str) else value
        elif not isinstance(value, bool | int | float | None):
            line[name] = printable(value if isinstance(value, str) else repr(value))
    return line


def _write_exception(out: TextIO, exc_info: ExcInfo) -> None:
    trace = io.StringIO()
    structlog.dev.plain_traceback(trace, exc_info)
    out.write(_printable_lines(trace.getvalue()))


def _printable_lines(text: str) -> str:
    return "\n".join([printable(line) for line in text.split("\n")])


def _name_library(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """Add the logger's name to lines of libraries; ours are known by their event."""
    line["logger"] = line["_record"].name
    return line


def _tell_withheld(_logger: Any, _method: str, line: EventDict) -> EventDict:
    withheld = getattr(line["_record"], "withheld", 0)
    if withheld:
        line["withheld"] = withheld
    return line


def get_logger(name: str) -> Any:
    """Return a logger whose lines are an event name and fields."""
    return structlog.stdlib.get_logger(name)
