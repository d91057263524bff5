"""Whatever a client sends is answered with a 4xx at worst: over plain sockets, since libraries tidy up."""

import asyncio
import base64
import random

import pytest

from processor.web import problems
from processor.web.list_query import LIST_PARAMETERS
from processor.web.message_query import MESSAGE_PARAMETERS
from tests.web.workers import READ_TOKEN, WRITE_TOKEN, workers

pytestmark = pytest.mark.slow

PATIENCE = 180

#: Values that decoders trip over; percent-encoded, as they are sent.
VALUES = [
    *[
        "",
        "%00",
        "%0a",
        "%ff",
        "%ed%a0%80",
        "%ed%b3%bf",
        "%c0%af",
        "%",
        "%zz",
        "%25",
        "+",
        "%2B",
        "%E2%80%AE",
        "%F0%9F%A6%84",
    ],
    *["0", "-1", "-0", "1e5", "1e999", "NaN", "Infinity", "0x10", "1_000", "%D9%A1", "9" * 400, "1.5", "true", "null"],
    *["2026-11-23T08:00:00Z", "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z"],
    *["0000-01-01T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T08:00:60Z", "2026-11-23", "+2026-11-23T08:00:00Z"],
    *["2026-11-23T08:00:00.1234567890123456789Z", "2026-11-23T08:00:00%2B99:99", "2026-11-23t08:00:00z"],
    *["%5B" * 1_000, "%7B%22a%22:" * 300, "a" * 5_000, "..", "../..", "%2e%2e/%2e%2e/", "//", "\\", "'", "<script>"],
    *[base64.urlsafe_b64encode(value.encode()).decode() for value in ("[" * 2_000, "null", '["-last_activity",0]')],
]
BODIES = [
    *[b"", b"null", b"[]", b"{}", b"[" * 30_000, b'{"a":' * 12_000, b'"', b"\xff\xfe", b'{"action":"cancel","x":1}'],
    *[
        b'{"action":"cancel","time":"%s"}' % time
        for time in (b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00")
    ],
    *[b'{"action":"schedule","scheduled_at":"0001-01-01T00:00:00+14:00"}', b'{"action":"register","planned":1e400}'],
    *[b'{"action":"register","planned":99999999999999999999}', b'{"action":"register","label":"\\ud800"}'],
    *[b'{"action":"register","label":"\\u0000"}', b'{"action":"register","id":"\xed\xa0\x80"}', b"x" * 70_000],
]
HEADERS = [
    *[
        "Cookie: delivery_session=\xff",
        "Cookie: =;;=;delivery_session",
        "Accept-Language: \xff;q=x",
        "Accept-Encoding: \xff",
    ],
    *[
        "Authorization: Bearer \xff\xfe",
        "Authorization: \xff",
        "Authorization: Bearer",
        "Origin: \xff",
        "If-None-Match: \xff",
    ],
    *["Content-Type: \xff", "Content-Type: application/json; charset=\xff", "Expect: 100-continue", "Expect: x"],
    *[
        "Range: bytes=\xff",
        "Content-Encoding: gzip",
        "Content-Encoding: br",
        "Transfer-Encoding: x",
        "Upgrade: websocket",
    ],
    *["X-Forwarded-For: \xff", "X-Forwarded-Proto: \xff", "Delivery-Hop: \xff", "Delivery-Hop: t=1,n=,v2="],
]


@pytest.fixture
async def ask(monkeypatch):
    """Ask over a connection of one's own; a fault of ours fails the test."""
    faults = []
    monkeypatch.setattr(problems.log, "exception", lambda event, **_: faults.append(event))
    monkeypatch.setattr("processor.web.page.frame.log.exception", lambda event, **_: faults.append(event))
    async with workers(1, read_token=READ_TOKEN) as [worker]:
        host, port = worker.url.removeprefix("http://").split(":")

        async def send(method: str, path: str, *headers: str, body: bytes = b"", token: str = WRITE_TOKEN) -> int:
            head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
            if token and not any(each.startswith("Authorization") for each in headers):
                head.append(f"Authorization: Bearer {token}")
            if body or method == "POST":
                head.append(f"Content-Length: {len(body)}")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)
            line = await asyncio.wait_for(reader.readline(), PATIENCE)
            while line.startswith(b"HTTP/1.1 100"):
                await reader.readline()
                line = await asyncio.wait_for(reader.readline(), PATIENCE)
            writer.close()
            assert faults == [], (method, path[:200], headers)
            # A request that is no HTTP may be cut off.
            return int(line.split()[1]) if line else 400

        yield send


async def test_parameters_of_lists(ask):
    for parameter in LIST_PARAMETERS:
        for value in VALUES:
            assert await ask("GET", f"/api/v1/deliveries?{parameter.name}={value}") in {200, 400}, (
                parameter.name,
                value,
            )
    for parameter in MESSAGE_PARAMETERS:
        for value in VALUES:
            path = f"/api/v1/messages?{parameter.name}={value}"
            assert await ask("GET", path) in {200, 400}, (parameter.name, value)
    for value in VALUES:
        assert await ask("GET", f"/api/v1/deliveries?{value}=1") in {200, 400}
        assert await ask("GET", f"/api/v1/overview?{value}") in {200, 400}


async def test_parameters_of_the_page(ask):
    for name in ("q", "sort", "since", "cursor", "lang", "next", "again", "done", "state", "status", "limit"):
        for value in VALUES:
            for path in ("/deliveries", "/find", "/login"):
                assert await ask("GET", f"{path}?{name}={value}") in {200, 303, 400}, (path, name, value)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/messages/",
        "/api/v1/deliveries/",
        "/messages/",
        "/deliveries/",
        "/static/",
        "/internal/v1/messages/",
        "/",
    ],
)
async def test_ids(ask, path):
    for value in VALUES:
        assert await ask("GET", path + value) < 500
        assert await ask("GET", path + value + "/cancel") < 500
    choice = random.Random(1)
    for _ in range(100):
        noise = "".join(chr(choice.choice([*range(33, 127), *range(128, 256)])) for _ in range(choice.randint(1, 30)))
        assert await ask("GET", path + noise) < 500


async def test_bodies(ask):
    for body in BODIES:
        for path in ("/api/v1/deliveries/DM1/control", "/api/v1/deliveries/DM1/cancel", "/login", "/logout"):
            for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
                assert await ask("POST", path, f"Content-Type: {kind}", body=body) < 500, (path, body[:100])
        assert await ask("POST", "/deliveries/DM1/cancel", body=b"sure=yes&token=" + body) < 500


async def test_headers(ask):
    for header in HEADERS:
        for path in (
            "/",
            "/login",
            "/api/v1/overview",
            "/api/v1/statuses",
            "/livez",
            "/static/app.css",
            "/internal/v1/report",
        ):
            assert await ask("GET", path, header) < 500, (path, header)
            assert await ask("POST", path, header) < 500, (path, header)


@pytest.mark.parametrize(
    "method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "PROPFIND", "X"]
)
async def test_methods_give_nothing_that_a_token_does_not(ask, method):
    for path in (
        "/api/v1/overview",
        "/api/v1/messages/m-1",
        "/internal/v1/report",
        "/deliveries/DM1/cancel",
        "/logout",
    ):
        override = ("X-HTTP-Method-Override: GET", "X-HTTP-Method: POST", "X-Method-Override: POST")
        assert await ask(method, path, *override, token="") in {303, 400, 401, 403, 404, 405}, path


@pytest.mark.parametrize(
    "path",
    [
        *["//internal/v1/report", "/internal//v1/report", "/./internal/v1/report", "/x/../internal/v1/report"],
        *[
            "/internal/v1/report/",
            "/internal%2fv1%2freport",
            "/%69nternal/v1/report",
            "/internal/v1/report;x",
            "/INTERNAL/v1/report",
        ],
        *[
            "/internal/v1/report%00",
            "/internal/v1/report%20",
            "/internal/v1/messages/m-1",
            "/internal/v1/messages/..%2freport",
        ],
        *[
            "//api/v1/overview",
            "/api/v1/./overview",
            "/x/../api/v1/overview",
            "/%61pi/v1/overview",
            "/api%2fv1%2foverview",
        ],
        *[
            "/api/v1/messages/m-1",
            "/messages/m-1",
            "//messages/m-1",
            "/static/../messages/m-1",
            "/static/..%2fmessages%2fm-1",
        ],
    ],
)
async def test_paths_give_nothing_that_a_token_does_not(ask, path):
    for token in ("", "x" * 20):
        assert await ask("GET", path, "Delivery-Hop: unsigned", token=token) in {303, 400, 401, 403, 404, 429}
    # A reader is no worker.
    if "nternal" in path.lower():
        assert await ask("GET", path, "Delivery-Hop: unsigned", token=READ_TOKEN) in {303, 400, 401, 403, 404}
