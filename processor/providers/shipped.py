"""Take the lines of a log out of what log shippers make of them: batches of Loki and OpenTelemetry, and single objects.

Source: Grafana Loki, "HTTP API" (ingest logs, query range; the older form with `entries`); OpenTelemetry protocol,
logs.proto and common.proto 1.5, "JSON Protobuf encoding".
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Any

#: Names of the line in a JSON object: filebeat, fluentd, journald, rsyslog, syslog-ng, vector, Loki; Splunk's HEC,
#: Google Cloud Logging, OpenTelemetry; GELF (Graylog, Docker), whose short message may be cut. Lines that are taken out
#: of a batch have the first.
LINE_NAMES = (
    "message",
    "MESSAGE",
    "msg",
    "log",
    "line",
    "event",
    "textPayload",
    "body",
    "full_message",
    "short_message",
)
_LINE, _TIME = LINE_NAMES[0], "time"

#: Lists and objects inside one another in a value of OpenTelemetry; a log has few.
_MAX_DEPTH = 16
#: Loki's labels as a text: {host="mx1", job="mail"}.
_LABEL = re.compile(r'(\w{1,100})="([^"\\]{0,500})"')
_MAX_LABELS_TEXT = 4_000


def lines_in(payload: object) -> list[Any] | None:
    """Return the lines of a batch, each an object of its own with what the batch tells of it.

    What in it is no line stays as it is, for its reader to refuse. It never raises.

    Returns:
        None if it is no batch. The line is called "message", its time "time"; labels and attributes keep their names,
        but for the host's, which is "host".
    """
    if not isinstance(payload, dict):
        return None
    data = payload.get("data")
    streams = data.get("result") if isinstance(data, dict) else payload.get("streams")
    if isinstance(streams, list):
        return [line for stream in streams for line in _of_stream(stream)]
    resources = payload.get("resourceLogs")
    if isinstance(resources, list):
        return [line for resource in resources for line in _of_resource(resource)]
    if isinstance(payload.get("body"), dict) and ("timeUnixNano" in payload or "observedTimeUnixNano" in payload):
        return [_of_record(payload, {})]
    return None


def _of_stream(stream: object) -> Iterator[Any]:
    """Yield the lines of one of Loki's streams."""
    if not isinstance(stream, dict):
        yield stream
        return
    labels = stream.get("stream", stream.get("labels"))
    if isinstance(labels, str):
        labels = dict(_LABEL.findall(labels[:_MAX_LABELS_TEXT]))
    about = labels if isinstance(labels, dict) else {}
    for value in _list(stream.get("values", stream.get("entries"))):
        if isinstance(value, list) and len(value) >= 2:
            more = value[2] if len(value) > 2 and isinstance(value[2], dict) else {}
            yield {**about, **more, _TIME: _number(value[0]), _LINE: value[1]}
        elif isinstance(value, dict) and "line" in value:
            yield {**about, _TIME: value.get("ts", value.get("timestamp")), _LINE: value["line"]}
        else:
            yield value


def _of_resource(resource: object) -> Iterator[Any]:
    """Yield the lines of one resource of OpenTelemetry."""
    if not isinstance(resource, dict):
        yield resource
        return
    described = resource.get("resource")
    about = _attributes(described.get("attributes")) if isinstance(described, dict) else {}
    for scope in _list(resource.get("scopeLogs")):
        records = scope.get("logRecords") if isinstance(scope, dict) else None
        for record in _list(records):
            yield _of_record(record, about) if isinstance(record, dict) else record


def _of_record(record: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    body = _plain(record.get("body"))
    # 0 says that the time is not known.
    time = _number(record.get("timeUnixNano")) or _number(record.get("observedTimeUnixNano"))
    line = body if isinstance(body, dict) else {_LINE: body}
    return {**about, **_attributes(record.get("attributes")), _TIME: time, **line}


def _attributes(told: object) -> dict[str, Any]:
    """Return attributes by name; the host's name is "host"."""
    named = _pairs(_list(told), 0)
    if "host.name" in named:
        named.setdefault("host", named["host.name"])
    return named


def _pairs(told: Iterable[Any], depth: int) -> dict[str, Any]:
    pairs = [pair for pair in told if isinstance(pair, dict) and isinstance(pair.get("key"), str)]
    return {pair["key"]: _plain(pair.get("value"), depth) for pair in pairs}


def _plain(value: object, depth: int = 0) -> Any:
    """Return a value that OpenTelemetry wraps in an object which names its type; None where there is none."""
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        return None
    told = next((value[kind] for kind in ("stringValue", "doubleValue", "boolValue") if kind in value), None)
    if "intValue" in value:
        told = _number(value["intValue"])
    elif "bytesValue" in value:
        told = _octets(value["bytesValue"])
    elif "kvlistValue" in value:
        told = _pairs(_values(value["kvlistValue"]), depth + 1)
    elif "arrayValue" in value:
        told = [_plain(each, depth + 1) for each in _values(value["arrayValue"])]
    return told


def _values(told: object) -> Iterable[Any]:
    return _list(told.get("values")) if isinstance(told, dict) else ()


def _octets(told: object) -> str | None:
    try:
        return binascii.a2b_base64(told).decode(errors="replace") if isinstance(told, str) else None
    except ValueError:
        return None


def _list(value: object) -> Iterable[Any]:
    return value if isinstance(value, list) else ()


def _number(value: object) -> object:
    """Return a whole number that JSON holds as a text, as it does those of 64 bits; anything else as it is."""
    return int(value) if isinstance(value, str) and len(value) <= 20 and value.isdecimal() else value
