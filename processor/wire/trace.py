"""Trace context of W3C in a record's headers: carried from record to record, and never looked into.

Nothing here makes a trace or a span, so no tracing library is needed: whoever publishes events and whoever reads rows
may use the one they have.
"""

from __future__ import annotations

from collections.abc import Iterable

from processor.wire.deadletters import Headers

#: The headers of https://www.w3.org/TR/trace-context/.
TRACE_HEADERS = frozenset({"traceparent", "tracestate"})

#: Strangers write them, and rows are kept for ever: what is longer than the standard asks anybody to carry is left.
_MAX_BYTES = 512


def carried(headers: Iterable[tuple[str, bytes | None]]) -> Headers:
    """Give those of a record's headers that say to which trace it belongs, as they came."""
    return tuple(
        (name, value)
        for name, value in headers
        if name in TRACE_HEADERS and value is not None and len(value) <= _MAX_BYTES
    )
