"""Who may ask for what: every route of a worker, and every role."""

import json
from hashlib import sha256
from ipaddress import ip_network

import aiohttp
import pytest

from processor.users import Role
from processor.wire.audit import AuditEntry, Deed
from processor.wire.topics import DELIVERIES
from tests.engine.harness import eventually
from tests.views.told import told
from tests.web.workers import READ_TOKEN, WRITE_TOKEN, workers

READER, UNMASKED, OPERATOR = Role
ANYBODY, WORKERS = "anybody", "workers"
#: Readers, by a form that has the token of an operator: see below.
FORM = "form"
STEERING = ("pause", "resume", "finish", "cancel")

#: Who may ask for each route.
ROUTES = {
    ("GET", "/metrics"): ANYBODY,
    ("GET", "/livez"): ANYBODY,
    ("GET", "/readyz"): ANYBODY,
    ("GET", "/login"): ANYBODY,
    ("POST", "/login"): ANYBODY,
    ("POST", "/logout"): ANYBODY,
    ("GET", "/static/{name}"): ANYBODY,
    ("GET", "/{rest}"): ANYBODY,
    ("GET", "/api/v1/messages"): READER,
    ("GET", "/api/v1/messages/{message_id}"): READER,
    ("GET", "/api/v1/breakdown"): READER,
    ("GET", "/api/v1/find"): READER,
    ("GET", "/api/v1/deliveries"): READER,
    ("GET", "/api/v1/deliveries/{delivery_id}"): READER,
    **{("POST", f"/api/v1/deliveries/{{delivery_id}}/{action}"): OPERATOR for action in STEERING},
    ("POST", "/api/v1/deliveries/{delivery_id}/control"): OPERATOR,
    ("POST", "/api/v1/addresses/find"): READER,
    ("GET", "/api/v1/addresses/{address}"): READER,
    ("POST", "/api/v1/erasures"): OPERATOR,
    ("GET", "/api/v1/overview"): READER,
    ("GET", "/api/v1/history"): READER,
    ("GET", "/api/v1/stuck"): READER,
    ("GET", "/api/v1/contradictions"): READER,
    ("GET", "/api/v1/dead-letters"): READER,
    ("GET", "/api/v1/dead-letters/counts"): READER,
    ("GET", "/api/v1/dead-letters/kept"): READER,
    ("GET", "/api/v1/dead-letters/kept/{letter_id}"): READER,
    ("POST", "/api/v1/dead-letters/replay"): OPERATOR,
    ("POST", "/api/v1/dead-letters/discard"): OPERATOR,
    ("GET", "/api/v1/audit"): OPERATOR,
    ("GET", "/api/v1/providers"): READER,
    ("GET", "/api/v1/gateways"): READER,
    ("GET", "/api/v1/statuses"): READER,
    ("GET", "/api/v1/events"): READER,
    ("GET", "/api/openapi.json"): READER,
    ("GET", "/internal/v1/messages/{message_id}"): WORKERS,
    ("GET", "/internal/v1/links/{provisional}"): WORKERS,
    ("POST", "/internal/v1/message-list"): WORKERS,
    ("POST", "/internal/v1/message-breakdown"): WORKERS,
    ("GET", "/internal/v1/addresses/{address}"): WORKERS,
    ("GET", "/internal/v1/report"): WORKERS,
    ("POST", "/internal/v1/ended-sessions"): WORKERS,
    ("GET", "/"): READER,
    ("GET", "/partitions"): READER,
    ("GET", "/deliveries"): READER,
    ("GET", "/deliveries/{id}"): READER,
    ("GET", "/no-delivery"): READER,
    **{("GET", f"/deliveries/{{id}}/{action}"): READER for action in STEERING},
    **{("POST", f"/deliveries/{{id}}/{action}"): FORM for action in STEERING},
    ("GET", "/dead-letters"): READER,
    ("GET", "/dead-letters/{id}"): READER,
    ("POST", "/dead-letters/{id}"): FORM,
    ("GET", "/audit"): OPERATOR,
    ("GET", "/messages"): READER,
    ("GET", "/deliveries/{id}/messages"): READER,
    ("GET", "/no-delivery/messages"): READER,
    ("GET", "/deliveries/{id}/domains"): READER,
    ("GET", "/deliveries/{id}/exclusions"): READER,
    ("GET", "/deliveries/{id}/audit"): READER,
    ("GET", "/no-delivery/domains"): READER,
    ("GET", "/no-delivery/exclusions"): READER,
    ("GET", "/no-delivery/audit"): READER,
    ("GET", "/messages/{id}"): READER,
    ("GET", "/statuses"): READER,
    ("GET", "/find"): READER,
}

#: The routes that show whole recipients to who may see them.
SIGHTS = (
    "/api/v1/messages",
    "/api/v1/messages/{message_id}",
    "/api/v1/find",
    "/api/v1/overview",
    "/api/v1/stuck",
    "/api/v1/contradictions",
    "/api/v1/dead-letters",
    "/api/v1/dead-letters/kept",
    "/api/v1/dead-letters/kept/{letter_id}",
    "/messages",
    "/messages/{id}",
    "/deliveries/{id}/messages",
    "/no-delivery/messages",
    "/dead-letters",
    "/dead-letters/{id}",
    "/find",
)

#: What each route that writes is asked to do, and what the audit says of it.
WRITES = {
    "/api/v1/deliveries/{delivery_id}/control": ({"json": {"action": "pause"}}, Deed.CONTROL, "DM1"),
    "/api/v1/erasures": ({"json": {"recipient": "ulla@example.com"}}, Deed.ERASE, None),
    "/api/v1/dead-letters/replay": ({"json": {"ids": ["0-1"]}}, Deed.REPLAY, "0-1"),
    "/api/v1/dead-letters/discard": ({"json": {"ids": ["0-2"]}}, Deed.DISCARD, "0-2"),
    "/dead-letters/{id}": ({"data": {"do": "discard"}}, Deed.DISCARD, "0-3"),
    "/api/v1/deliveries/{delivery_id}/pause": ({}, Deed.CONTROL, "DM1"),
    "/api/v1/deliveries/{delivery_id}/resume": ({}, Deed.CONTROL, "DM1"),
    "/api/v1/deliveries/{delivery_id}/finish": ({}, Deed.CONTROL, "DM1"),
    "/api/v1/deliveries/{delivery_id}/cancel": ({}, Deed.CANCEL, "DM1"),
    "/deliveries/{id}/pause": ({"data": {}}, Deed.CONTROL, "DM1"),
    "/deliveries/{id}/resume": ({"data": {}}, Deed.CONTROL, "DM1"),
    "/deliveries/{id}/finish": ({"data": {"sure": "yes"}}, Deed.CONTROL, "DM1"),
    "/deliveries/{id}/cancel": ({"data": {"sure": "yes"}}, Deed.CANCEL, "DM1"),
}
#: Nothing but a session changes, or nothing at all: an address is in a body to be in no log.
NOT_AUDITED = {"/login", "/logout", "/api/v1/addresses/find"}

PARTS = {
    "{message_id}": "m-1",
    "{delivery_id}": "DM1",
    "{letter_id}": "0-1",
    "{id}": "DM1",
    "{name}": "app.css",
    "{provisional}": "ses:1",
    "{address}": "email|0a1b",
    "{rest}": "nothing/here",
}

TOKENS = {role: f"a-token-of-the-{role.value}" for role in Role}
NAMES = {role: f"{role.value}@example.com" for role in Role}


@pytest.fixture
def users_file(tmp_path):
    users = [
        {"name": NAMES[role], "role": role.value, "token_sha256": sha256(TOKENS[role].encode()).hexdigest()}
        for role in Role
    ]
    path = tmp_path / "users.json"
    path.write_text(json.dumps({"users": users}), encoding="utf-8")
    return path


@pytest.fixture
async def worker(users_file):
    proxies, roles = (ip_network("127.0.0.0/8"),), {role.value: role for role in Role}
    async with workers(1, read_token=READ_TOKEN, users_file=users_file, user_proxies=proxies, user_roles=roles) as [
        one
    ]:
        yield one


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def with_token(role: Role) -> dict[str, str]:
    return bearer(TOKENS[role])


def by_proxy(role: Role) -> dict[str, str]:
    return {"X-Forwarded-User": NAMES[role], "X-Forwarded-Groups": f"everybody,{role.value}"}


WAYS = pytest.mark.parametrize("way", [with_token, by_proxy])


def path_of(pattern: str) -> str:
    """Give an address that a pattern has."""
    for part, value in PARTS.items():
        pattern = pattern.replace(part, value)
    return pattern + ("?q=DM1" if pattern.endswith("/find") else "")


async def status_of(worker, method: str, path: str, headers: dict[str, str], **options) -> int:
    url = worker.url + path
    async with worker.session.request(method, url, headers=headers, allow_redirects=False, **options) as response:
        if response.status == 303 and response.headers["Location"].startswith("/login"):
            return 401
        return response.status


async def refused(worker, headers: dict[str, str]) -> dict[tuple[str, str], int]:
    """Give the routes that are not for who sends these headers, and with which status each was refused."""
    # A form without a token is refused whoever sends it.
    asked = [route for route, who in ROUTES.items() if route != ("POST", "/login") and not (headers and who == FORM)]
    statuses = {route: await status_of(worker, route[0], path_of(route[1]), headers) for route in asked}
    assert not [route for route, status in statuses.items() if status >= 500 and status not in {501, 503}]
    return {route: status for route, status in statuses.items() if status in {401, 403, 429}}


async def test_the_table_has_every_route_of_a_worker(worker):
    routes = worker.server._runner.app.router.routes()
    found = {(route.method, route.resource.canonical) for route in routes if route.method != "HEAD"}
    assert found == set(ROUTES)


async def test_without_a_token_one_gets_what_is_for_anybody(worker):
    expected = {route: 403 if who == WORKERS else 401 for route, who in ROUTES.items() if who != ANYBODY}
    assert await refused(worker, {}) == expected


@WAYS
@pytest.mark.parametrize("role", Role)
async def test_a_user_gets_what_the_role_includes(worker, role, way):
    expected = {
        route: 403
        for route, who in ROUTES.items()
        if who == WORKERS or (isinstance(who, Role) and not role.includes(who))
    }
    assert await refused(worker, way(role)) == expected


@WAYS
@pytest.mark.parametrize(
    ("role", "recipient"),
    [(READER, "u***@example.com"), (UNMASKED, "ulla.b@example.com"), (OPERATOR, "ulla.b@example.com")],
)
async def test_recipients_are_masked_for_readers(worker, role, recipient, way):
    _, told, _ = await worker.ask("/api/v1/messages/m-1", headers=way(role))
    assert told["recipient"] == recipient
    async with worker.session.get(worker.url + "/messages/m-1", headers=way(role)) as response:
        assert ("ulla.b@example.com" in (await response.text()).lower()) is (role is not READER)


@pytest.mark.parametrize("role", Role)
async def test_a_form_that_writes_needs_the_token_of_an_operator(worker, role):
    form = {"sure": "yes", "token": TOKENS[role]}
    # Who has the page open does not count.
    status = await status_of(worker, "POST", "/deliveries/DM1/cancel", with_token(READER), data=form)
    assert status == (303 if role is OPERATOR else 403)
    assert len(worker.published) == (role is OPERATOR)


@pytest.mark.parametrize("role", Role)
async def test_an_operator_of_a_proxy_has_no_token_to_give(worker, role):
    async with worker.session.get(worker.url + "/deliveries/DM1/cancel", headers=by_proxy(role)) as response:
        assert ('name="token"' in await response.text()) is (role is not OPERATOR)
    status = await status_of(worker, "POST", "/deliveries/DM1/cancel", by_proxy(role), data={"sure": "yes"})
    assert status == (303 if role is OPERATOR else 403)
    assert len(worker.published) == (role is OPERATOR)


async def test_pages_of_others_cannot_use_what_a_proxy_says(worker):
    headers = {**by_proxy(OPERATOR), "Origin": "https://evil.example.com"}
    for path in ("/deliveries/DM1/cancel", "/dead-letters/0-1", "/logout", "/api/v1/deliveries/DM1/cancel"):
        assert await status_of(worker, "POST", path, headers, data={"sure": "yes"}) == 403
    assert worker.published == []


@pytest.mark.parametrize("role", Role)
async def test_who_signed_in_has_the_same_role(worker, role):
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.post(worker.url + "/login", data={"token": TOKENS[role]}, allow_redirects=False) as response:
            assert response.status == 303
        body = {"json": {"action": "pause"}}
        async with session.post(worker.url + "/api/v1/deliveries/DM1/control", **body) as response:
            assert response.status == (202 if role is OPERATOR else 403)
        foreign = {"Origin": "https://evil.example.com"}
        async with session.post(worker.url + "/api/v1/deliveries/DM1/control", headers=foreign, **body) as response:
            assert response.status == 403
    assert len(worker.published) == (role is OPERATOR)


async def test_tokens_of_the_settings_go_on_as_users_without_names(worker):
    assert await status_of(worker, "GET", "/api/v1/statuses", bearer(READ_TOKEN)) == 200
    assert await status_of(worker, "POST", "/api/v1/deliveries/DM1/cancel", bearer(READ_TOKEN)) == 401
    assert await status_of(worker, "POST", "/api/v1/deliveries/DM1/cancel", bearer(WRITE_TOKEN)) == 202


async def test_a_user_who_may_not_is_told_which_role_is_needed(worker):
    status, told, _ = await worker.ask("/api/v1/deliveries/DM1/cancel", TOKENS[UNMASKED], "POST")
    assert status == 403
    assert told["detail"] == (
        "unmasked_reader@example.com has the role unmasked_reader, and this needs that of an operator"
    )


async def test_a_user_who_is_taken_out_of_the_file_is_out_at_once(worker, users_file, monkeypatch):
    monkeypatch.setattr("processor.web.user_file._LOOK_SECONDS", 0.0)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        await session.post(worker.url + "/login", data={"token": TOKENS[OPERATOR]})
        async with session.get(worker.url + "/api/v1/statuses") as response:
            assert response.status == 200
        users_file.write_text('{"users": []}', encoding="utf-8")
        async with session.get(worker.url + "/api/v1/statuses") as response:
            assert response.status == 401
    assert await status_of(worker, "GET", "/api/v1/statuses", with_token(OPERATOR)) == 401


@WAYS
@pytest.mark.parametrize("role", Role)
async def test_every_sight_of_whole_recipients_is_audited_by_name(worker, role, way):
    for path in [path for method, path in ROUTES if method == "GET" and path not in {"/api/v1/events", "/{rest}"}]:
        before = len(worker.audited)
        status = await status_of(worker, "GET", path_of(path), way(role))
        told = await audited_since(worker, before, path in SIGHTS and role is not READER and status < 400)
        assert [(entry.who, entry.deed) for entry in told] == [(NAMES[role], Deed.UNMASK)] * len(told)


def test_every_write_is_tried():
    writes = {path for method, path in ROUTES if method == "POST" and not path.startswith("/internal/")}
    assert writes == {*WRITES, *NOT_AUDITED}


@WAYS
@pytest.mark.parametrize("path", WRITES)
async def test_every_write_is_audited_by_name(worker, path, way, monkeypatch):
    options, deed, subject = WRITES[path]
    if "data" in options and way is with_token:
        options = {"data": {**options["data"], "token": TOKENS[OPERATOR]}}
    if path.endswith("/resume"):
        worker.answers._deliveries.take(DELIVERIES, [told("pause", delivery_id="DM1")])
    address = path_of(path) if subject is None or subject == "DM1" else path.replace("{id}", subject)
    # The owner of the page is not who writes: that is told by the form.
    headers = with_token(READER) if "data" in options and way is with_token else way(OPERATOR)
    assert await status_of(worker, "POST", address, headers, **options) in {200, 202, 303, 503}
    [entry] = await audited_since(worker, 0, is_expected=True)
    assert (entry.who, entry.deed, entry.address) == (NAMES[OPERATOR], deed, "127.0.0.1")
    assert subject is None or entry.subject == subject


async def audited_since(worker, before: int, is_expected: bool) -> list[AuditEntry]:
    """Give the entries of one request: sights are written down soon after."""
    if is_expected:

        async def is_told() -> bool:
            return len(worker.audited) > before

        await eventually(is_told, "it is written down")
    return worker.audited[before:]
