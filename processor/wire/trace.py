"""W3C trace context in a record's headers: copied from record to record, never interpreted.

Nothing here creates a trace or a span, so no tracing library is needed; producers of events and readers of rows may use
their own.
"""

from __future__ import annotations

from collections.abc import Iterable

from processor.wire.deadletters import Headers

#: The headers of https://www.w3.org/TR/trace-context/.
TRACE_HEADERS = frozenset({"traceparent", "tracestate"})

#: They are untrusted, and rows are kept for ever: values longer than the standard requires to be carried are dropped.
_MAX_BYTES = 512


def carried(headers: Iterable[tuple[str, bytes | None]]) -> Headers:
    """Return a record's trace context headers, unchanged."""
    return tuple(
        (name, value)
        for name, value in headers
        if name in TRACE_HEADERS and value is not None and len(value) <= _MAX_BYTES
    )
