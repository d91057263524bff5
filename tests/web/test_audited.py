"""Which requests are written down, by whom and of what, without a broker."""

from collections.abc import Sequence

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from processor.settings import Settings
from processor.web.access import Access
from processor.web.auditing import DEED, DETAIL, SUBJECT, Auditing
from processor.wire.audit import AuditEntry, Deed, Via

READ, WRITE = "r" * 24, "w" * 24


async def show(request: web.Request) -> web.Response:
    return web.Response(status=404 if request.match_info.get("message_id") == "none" else 200)


async def erase(request: web.Request) -> web.Response:
    request[SUBJECT] = "an-erasure"
    return web.Response(status=202)


async def pause(request: web.Request) -> web.Response:
    request[DETAIL] = "pause"
    return web.Response(status=202)


async def settle(request: web.Request) -> web.Response:
    request[DEED] = Deed.DISCARD
    return web.Response(status=200)


ROUTES = [
    web.get("/api/v1/messages/{message_id:.+}", show),
    web.get("/api/v1/messages", show),
    web.get("/api/v1/overview", show),
    web.get("/messages/{id:[^/]+}", show),
    web.get("/dead-letters", show),
    web.post("/api/v1/erasures", erase),
    web.post("/api/v1/deliveries/{delivery_id:.+}/control", pause),
    web.post("/dead-letters/{id:[^/]+}", settle),
]


async def written_of(method: str, path: str, token: str = WRITE, error: Exception | None = None) -> list[AuditEntry]:
    """Send one request, stop the server, and give what was written."""
    entries: list[AuditEntry] = []

    async def write(given: Sequence[AuditEntry]) -> None:
        if error is not None:
            raise error
        entries.extend(given)

    application = web.Application()
    Auditing(Access(Settings(read_token=READ, write_token=WRITE)), write).add_to(application)
    application.router.add_routes(ROUTES)
    async with TestClient(TestServer(application)) as client:
        headers = {"Authorization": f"Bearer {token}"}
        async with client.request(method, path, headers=headers) as response:
            assert response.status < 500
    return entries


@pytest.mark.parametrize(
    ("method", "path", "via", "deed", "subject", "detail"),
    [
        ("GET", "/api/v1/messages/m1", Via.API, Deed.UNMASK, "m1", None),
        ("GET", "/api/v1/messages/ses:1:ulla@example.com", Via.API, Deed.UNMASK, "ses:1:u***@example.com", None),
        ("GET", "/api/v1/messages?delivery=DM1&recipient=ulla@example.com", Via.API, Deed.UNMASK, "DM1", None),
        ("GET", "/messages/m1", Via.PAGE, Deed.UNMASK, "m1", None),
        ("GET", "/dead-letters", Via.PAGE, Deed.UNMASK, None, None),
        ("POST", "/api/v1/erasures", Via.API, Deed.ERASE, "an-erasure", None),
        ("POST", "/api/v1/deliveries/DM1/control", Via.API, Deed.CONTROL, "DM1", "pause"),
        ("POST", "/dead-letters/1-2", Via.PAGE, Deed.DISCARD, "1-2", None),
    ],
)
async def test_what_is_done_is_written_down(method, path, via, deed, subject, detail):
    [entry] = await written_of(method, path)
    assert (entry.via, entry.deed, entry.subject, entry.detail) == (via, deed, subject, detail)
    assert entry.who == "write token from 127.0.0.1"


@pytest.mark.parametrize(
    ("path", "token"), [("/api/v1/messages/m1", READ), ("/api/v1/messages/none", WRITE), ("/api/v1/overview", WRITE)]
)
async def test_what_shows_no_whole_recipient_is_not(path, token):
    assert await written_of("GET", path, token) == []


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/erasures"), ("GET", "/messages/m1")])
async def test_what_kafka_does_not_take_is_in_the_log(method, path, capsys):
    assert await written_of(method, path, error=OSError("away")) == []
    assert "audit_unwritten" in capsys.readouterr().out
