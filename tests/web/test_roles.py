"""Who may ask for what: every route of a worker, and every role."""

import json
from hashlib import sha256
from ipaddress import ip_network

import aiohttp
import pytest

from processor.users import Role
from processor.web.auditing import deed_of
from processor.wire.audit import Deed
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
    ("GET", "/api/v1/providers"): READER,
    ("GET", "/api/v1/gateways"): READER,
    ("GET", "/api/v1/statuses"): READER,
    ("GET", "/api/v1/events"): READER,
    ("GET", "/api/openapi.json"): READER,
    ("GET", "/internal/v1/messages/{message_id}"): WORKERS,
    ("GET", "/internal/v1/links/{provisional}"): WORKERS,
    ("POST", "/internal/v1/message-list"): WORKERS,
    ("POST", "/internal/v1/message-breakdown"): WORKERS,
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

#: The routes that show whole recipients to who may see them, and what each of the others that are audited does.
AUDITED = {
    ("GET", "/api/v1/messages"): Deed.UNMASK,
    ("GET", "/api/v1/messages/{message_id}"): Deed.UNMASK,
    ("GET", "/api/v1/find"): Deed.UNMASK,
    ("GET", "/api/v1/overview"): Deed.UNMASK,
    ("GET", "/api/v1/stuck"): Deed.UNMASK,
    ("GET", "/api/v1/contradictions"): Deed.UNMASK,
    ("GET", "/api/v1/dead-letters"): Deed.UNMASK,
    ("GET", "/api/v1/dead-letters/kept"): Deed.UNMASK,
    ("GET", "/api/v1/dead-letters/kept/{letter_id}"): Deed.UNMASK,
    ("GET", "/messages"): Deed.UNMASK,
    ("GET", "/messages/{id}"): Deed.UNMASK,
    ("GET", "/deliveries/{id}/messages"): Deed.UNMASK,
    ("GET", "/no-delivery/messages"): Deed.UNMASK,
    ("GET", "/dead-letters"): Deed.UNMASK,
    ("GET", "/dead-letters/{id}"): Deed.UNMASK,
    ("GET", "/find"): Deed.UNMASK,
    ("POST", "/api/v1/deliveries/{delivery_id}/control"): Deed.CONTROL,
    **{
        ("POST", f"/api/v1/deliveries/{{delivery_id}}/{action}"): Deed.CANCEL if action == "cancel" else Deed.CONTROL
        for action in STEERING
    },
    ("POST", "/api/v1/erasures"): Deed.ERASE,
    ("POST", "/api/v1/dead-letters/replay"): Deed.REPLAY,
    ("POST", "/api/v1/dead-letters/discard"): Deed.DISCARD,
}
#: Writes that are not: signing in and out; forms say themselves what was done, once their token is right.
NOT_AUDITED = {"/login", "/logout", *(path for (_, path), who in ROUTES.items() if who == FORM)}

PARTS = {
    "{message_id}": "m-1",
    "{delivery_id}": "DM1",
    "{letter_id}": "0-1",
    "{id}": "DM1",
    "{name}": "app.css",
    "{provisional}": "ses:1",
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
    assert not [route for route, status in statuses.items() if status >= 500 and status != 503]
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


async def test_every_write_and_every_sight_of_recipients_is_audited(worker):
    class Asked(dict):
        """A request that has matched a route, and whose handler said nothing of it."""

        def __init__(self, route):
            super().__init__()
            self.method = route.method
            self.match_info = type("Match", (), {"route": route})

    found = {}
    for route in worker.server._runner.app.router.routes():
        deed = deed_of(Asked(route))
        if deed is not None and route.method != "HEAD":
            found[route.method, route.resource.canonical] = deed
    assert found == AUDITED
    writes = {path for method, path in ROUTES if method == "POST" and not path.startswith("/internal/")}
    assert writes - {path for method, path in AUDITED if method == "POST"} == NOT_AUDITED
