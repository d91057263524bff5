"""Logging: one line per meaningful event and none per message, as JSON, or for people on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Any

import orjson
import structlog

#: Libraries that set a level of their own.
_CHATTY = ("faust", "mode", "aiokafka")


def configure(level: str, form: str) -> None:
    """Send our log and that of the libraries to standard error.

    Args:
        level: DEBUG, INFO, WARNING or ERROR; libraries speak from WARNING on.
        form: json, console, or auto: console on a terminal.
    """
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=lambda line, **_: orjson.dumps(line, default=repr).decode())
        if as_json
        else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.processors.format_exc_info],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelName(level)))
    logging.getLogger("processor").setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(root.level)


def get_logger(name: str) -> Any:
    """Give a logger whose lines are an event name and its facts."""
    return structlog.stdlib.get_logger(name)
