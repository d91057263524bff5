"""Which requests are written down, by whom and of what, without a broker."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from hashlib import sha256

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from processor.domain.delivery import Action
from processor.settings import Settings
from processor.web.access import Access
from processor.web.auditing import DEED, DETAIL, SUBJECT, Auditing, tell_action
from processor.web.problems import BROKER_AWAY, ProblemError, tell_problems
from processor.wire.audit import AuditEntry, Deed, Via

READ, WRITE = "r" * 24, "w" * 24
TOKENS = Settings(read_token=READ, write_token=WRITE)


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


async def steer(request: web.Request) -> web.Response:
    tell_action(request, Action.FINISH)
    return web.Response(status=303)


async def fail(request: web.Request) -> web.Response:
    request[SUBJECT] = "an-erasure"
    raise ProblemError(BROKER_AWAY, "Kafka does not take part")


async def lose(request: web.Request) -> web.Response:
    raise RuntimeError("a bug")


async def lead_to_sign_in(request: web.Request) -> web.Response:
    return web.Response(status=303, headers={"Location": "/login"})


ROUTES = [
    web.post("/api/v1/dead-letters/replay", fail),
    web.post("/api/v1/dead-letters/discard", lose),
    web.post("/deliveries/{id:[^/]+}/cancel", lead_to_sign_in),
    web.post("/deliveries/{id:[^/]+}/finish", steer),
    web.get("/api/v1/messages/{message_id:.+}", show),
    web.get("/api/v1/messages", show),
    web.get("/api/v1/providers", show),
    web.get("/messages/{id:[^/]+}", show),
    web.get("/dead-letters", show),
    web.post("/api/v1/erasures", erase),
    web.post("/api/v1/deliveries/{delivery_id:.+}/control", pause),
    web.post("/dead-letters/{id:[^/]+}", settle),
]


def auditing(
    write: Callable[[Sequence[AuditEntry]], Awaitable[None]], routes: Iterable[web.RouteDef], settings: Settings
) -> web.Application:
    application = web.Application(middlewares=[tell_problems])
    Auditing(Access(settings), write).add_to(application)
    application.router.add_routes(routes)
    return application


async def written_of(
    method: str,
    path: str,
    token: str = WRITE,
    error: Exception | None = None,
    least: int = 500,
    settings: Settings = TOKENS,
) -> list[AuditEntry]:
    """Send one request, stop the server, and give what was written."""
    entries: list[AuditEntry] = []

    async def write(given: Sequence[AuditEntry]) -> None:
        if error is not None:
            raise error
        entries.extend(given)

    async with TestClient(TestServer(auditing(write, ROUTES, settings))) as client:
        headers = {"Authorization": f"Bearer {token}"}
        async with client.request(method, path, headers=headers, allow_redirects=False) as response:
            assert response.status < least
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
        ("POST", "/deliveries/DM1/finish", Via.PAGE, Deed.CONTROL, "DM1", "finish"),
        ("POST", "/dead-letters/1-2", Via.PAGE, Deed.DISCARD, "1-2", None),
    ],
)
async def test_what_is_done_is_written_down(method, path, via, deed, subject, detail):
    [entry] = await written_of(method, path)
    assert (entry.via, entry.deed, entry.subject, entry.detail) == (via, deed, subject, detail)
    assert (entry.who, entry.address) == ("write token", "127.0.0.1")


@pytest.mark.parametrize(
    ("path", "token"), [("/api/v1/messages/m1", READ), ("/api/v1/messages/none", WRITE), ("/api/v1/providers", WRITE)]
)
async def test_what_shows_no_whole_recipient_is_not(path, token):
    assert await written_of("GET", path, token) == []


@pytest.mark.parametrize(
    ("path", "deed", "subject"),
    [
        ("/api/v1/dead-letters/replay", Deed.REPLAY, "an-erasure"),
        ("/api/v1/dead-letters/discard", Deed.DISCARD, None),
    ],
)
async def test_a_write_that_failed_may_have_been_done_and_is_written_down(path, deed, subject):
    [entry] = await written_of("POST", path, least=600)
    assert (entry.deed, entry.subject, entry.detail) == (deed, subject, "perhaps not done")


async def test_a_stream_is_written_down_when_it_begins_whoever_cuts_it_off():
    entries: list[AuditEntry] = []

    async def write(given: Sequence[AuditEntry]) -> None:
        entries.extend(given)

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await asyncio.sleep(0)
        await response.write(b"".join([entry.deed.value.encode() for entry in entries]))
        return response

    async with TestClient(TestServer(auditing(write, [web.get("/api/v1/messages", stream)], TOKENS))) as client:
        response = await client.get("/api/v1/messages", headers={"Authorization": f"Bearer {WRITE}"})
        assert await response.read() == b"unmask"
    assert len(entries) == 1


async def test_who_is_led_to_sign_in_has_done_nothing():
    assert await written_of("POST", "/deliveries/DM1/cancel", "nobody's") == []


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/erasures"), ("GET", "/messages/m1")])
async def test_what_kafka_does_not_take_is_in_the_log(method, path, capsys):
    assert await written_of(method, path, error=OSError("away")) == []
    assert "audit_unwritten" in capsys.readouterr().out


async def test_a_user_goes_by_name(tmp_path):
    path = tmp_path / "users.json"
    user = {"name": "per@example.com", "role": "unmasked_reader", "token_sha256": sha256(b"a-token-of-per").hexdigest()}
    path.write_text(json.dumps({"users": [user]}), encoding="utf-8")
    [entry] = await written_of("GET", "/messages/m1", "a-token-of-per", settings=Settings(users_file=path))
    assert (entry.who, entry.address, entry.deed) == ("per@example.com", "127.0.0.1", Deed.UNMASK)
