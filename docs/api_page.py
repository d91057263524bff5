"""The page of the HTTP API: its routes, parameters and problems, as the code has them."""  # noqa: INP001 - a script's, in no package

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provider_pages import table

from processor.web.list_query import LIST_PARAMETERS
from processor.web.live import HEARTBEAT_SECONDS, MAX_STREAMS, SNAPSHOT_SECONDS
from processor.web.masking import mask_recipient
from processor.web.message_query import MESSAGE_PARAMETERS
from processor.web.message_streams import CSV, NDJSON
from processor.web.message_streams import MAX_STREAMS as MAX_MESSAGE_STREAMS
from processor.web.openapi import JSON, Route
from processor.web.parameters import Parameter
from processor.web.problems import KINDS
from processor.web.routes import ROUTES

_ASK = """\
    curl localhost:8080/api/v1/messages/m-000001
    curl 'localhost:8080/api/v1/messages?delivery=DM1042&status=failed'
    curl -H 'Accept: text/csv' 'localhost:8080/api/v1/messages?delivery=DM1042' > messages.csv
    curl -G localhost:8080/api/v1/find --data-urlencode 'q=ulla@example.com'
    curl -G localhost:8080/api/v1/messages --data-urlencode 'recipient=+46 70 123 45 12'
    curl 'localhost:8080/api/v1/deliveries?pending=concurrency_limit&sort=-messages&limit=10'
    curl -N localhost:8080/api/v1/events
    curl -X POST -H "Authorization: Bearer $DELIVERY_WRITE_TOKEN" localhost:8080/api/v1/deliveries/DM1042/cancel
"""


def page(made_by: str) -> str:
    """Write the page."""
    return "\n".join(
        (
            "# HTTP API",
            "",
            made_by,
            "",
            "Every worker serves it and can answer every request: it asks the owner of the message's partition",
            "([0011](adr/0011-the-group-tells-who-owns-a-partition.md)). `/api/openapi.json` is the whole contract.",
            "",
            _ASK,
            "## Routes",
            "",
            table(("route", "operation", "answer"), map(_route, ROUTES)),
            "Ids in a path are percent-encoded; a slash in one may stay as it is. Every GET takes HEAD, too. Answers",
            "are not to be cached. `incomplete` lists the partitions of messages that could not be asked.",
            "",
            "Besides, open to everybody: `/metrics`, `/livez` (never asks Kafka), `/readyz`. The page is at `/`,",
            "`/deliveries`, `/deliveries/{id}`, `/deliveries/{id}/messages`, `/deliveries/{id}/domains`,",
            "`/deliveries/{id}/exclusions`, `/deliveries/{id}/audit`, `/deliveries/{id}/pause`,",
            "`/deliveries/{id}/resume`, `/deliveries/{id}/finish`, `/deliveries/{id}/cancel`, `/no-delivery`",
            "(messages without one) with the same tabs, `/messages`, `/messages/{id}`,",
            "`/statuses`, `/partitions`, `/find` and, for operators, `/audit`, its form for tokens at `/login` and",
            "`/logout`,",
            "and its files at `/static/{name}`. Every request must",
            "name an address, or a host of this worker (`DELIVERY_HTTP_ALLOWED_HOSTS`).",
            "",
            "## Parameters of the list of messages",
            "",
            table(("parameter", "takes", "meaning"), _parameters(MESSAGE_PARAMETERS)),
            "The order is that of the last change of status by event time, the newest first, then that of the id. A",
            "page may hold fewer messages than asked for, even none: where few messages match, a worker stops after",
            "some work, and `next` goes on behind what it has looked at. A list ends where `next` is null. A cursor",
            "names a place in the list, not a worker: any worker takes it, also after a rebalance. Where",
            "`incomplete` is not empty, the page lacks messages of those partitions: ask again with the same cursor.",
            "What is indexed is said by `DELIVERY_INDEX`",
            "([0022](adr/0022-rows-are-indexed-in-the-batch-that-writes-them.md)).",
            "",
            "A stream of the whole list, or of `limit` messages, is the answer to",
            f"`Accept: {CSV}` or `{NDJSON}`. It waits for partitions that recover; one that cannot go on",
            "is cut off, which HTTP clients tell from an end. It goes on behind the last line that came, with",
            f"`since/reference` of that line as its `cursor`. A worker serves {MAX_MESSAGE_STREAMS} at most. In",
            "CSV a reason or provider that begins like a formula has an apostrophe before it.",
            "",
            "`/api/v1/find?q=` takes any of it: a message's id (also sealed, and `provider:id`), a provider's id, a",
            "whole address or number, a delivery's id, a part of its label. Each item says what `matched`.",
            "",
            "## Parameters of the list of deliveries",
            "",
            table(("parameter", "takes", "meaning"), _parameters(LIST_PARAMETERS)),
            "An unknown parameter or value is an error. `next` of a page is the `cursor` of the following one: a place",
            "in the list, so that deliveries that come and go move no others from page to page.",
            "",
            "## Events",
            "",
            "`/api/v1/events` sends the overview at once and whenever it has changed (checked every",
            f"{SNAPSHOT_SECONDS:g} s), as server-sent events `overview`; `problem` while it cannot be had; a comment",
            f"every {HEARTBEAT_SECONDS:g} s. Each event is complete, so a client that reconnects misses nothing.",
            f"A worker serves at most {MAX_STREAMS} streams.",
            "",
            "## Authorization",
            "",
            table(
                ("", "bound to loopback", "bound beyond it"),
                (
                    (
                        "read",
                        "requests for a loopback host through no proxy, unless a read token or users are set",
                        "`DELIVERY_READ_TOKEN`, or the role `reader`",
                    ),
                    ("see whole recipients", *["`DELIVERY_WRITE_TOKEN`, or the role `unmasked_reader`"] * 2),
                    (
                        "pause, resume, finish, cancel, control, erase, settle, read the audit",
                        *["`DELIVERY_WRITE_TOKEN`, or the role `operator`"] * 2,
                    ),
                    (
                        "ask as a worker",
                        "`DELIVERY_INTERNAL_TOKEN`, else the write token; without any token, this machine",
                        "`DELIVERY_INTERNAL_TOKEN`, else the write token",
                    ),
                ),
            ),
            "Tokens are sent as `Authorization: Bearer ...`; the page has a form and a cookie for them. A role",
            "includes those before it. Without a known token the answer is a 401, without the role a 403. The whole",
            "picture, and how to set it up, is in [security.md](security.md).",
            "",
            "To readers a recipient is shown as",
            f"`{mask_recipient('user@example.com')}` or `{mask_recipient('+46701234512')}`,",
            "also where a provider's text, code or id, a dead letter or a message's id quotes it. Lists name a message",
            "by its `reference`: its id, or, where that is masked, the sealed id, which is accepted wherever an id is",
            "([0020](adr/0020-what-is-masked-is-sealed-in-links.md)).",
            "",
            "## Problems",
            "",
            "Every error is `application/problem+json`: `type`, `title`, `status`, `detail` and, where it can be",
            "listed, what is `allowed`. A 503 has `Retry-After`. A known message or delivery is never a 404.",
            "",
            table(("type", "status", "title", "retry after"), _problems()),
        )
    )


def _route(route: Route) -> tuple[str, str, str]:
    if route.answer is not None:
        answer = f"{route.status} `{route.answer.__name__}`"
    else:
        answer = "the document" if route.media_type == JSON else "a stream"
    return f"`{route.method} {route.path}`", route.summary, answer


def _parameters(parameters: Iterable[Parameter]) -> Iterator[tuple[str, str, str]]:
    for parameter in parameters:
        schema = parameter.schema
        if parameter.name == "sort":
            # Each once: the others are these with a sign.
            takes = ", ".join(f"`{value}`" for value in parameter.allowed if not value.startswith("-"))
        elif parameter.allowed:
            takes = ", ".join(f"`{value}`" for value in parameter.allowed)
        elif "minimum" in schema:
            takes = f"{schema['minimum']} to {schema['maximum']}, else {schema['default']}"
        else:
            takes = "a time with an offset" if "format" in schema else f"up to {schema['maxLength']} characters"
        yield f"`{parameter.name}`", takes, parameter.meaning


def _problems() -> Iterator[tuple[str, str, str, str]]:
    for kind in KINDS:
        yield f"`{kind.uri}`", str(kind.status), kind.title, f"{kind.retry_after} s" if kind.retry_after else ""
