"""Sessions of the page: good at every worker, for a time, until they end; and then nowhere."""

import asyncio
import time

import aiohttp
import pytest

from processor.web import sessions as module
from processor.web.sessions import SESSION_COOKIE, SESSION_SECONDS, Sessions
from tests.web.workers import READ_TOKEN, WRITE_TOKEN, TheGroup, workers

READ, WRITE = "read token", "ulla@example.com"
KEYS = {READ: b"the key of the read token", WRITE: b"the key of a user"}


def remade() -> Sessions:
    """Give what another worker knows, or the same after a restart."""
    return Sessions(KEYS.get)


@pytest.fixture
def clock(monkeypatch):
    """Time that the test moves."""

    class Clock:
        now = 1_800_000_000.5

    monkeypatch.setattr(module.time, "time", lambda: Clock.now)
    return Clock


@pytest.fixture
def made(clock):
    return remade()


def test_it_says_whom_it_was_given_to(made):
    assert made.find(made.start(READ)).name == READ
    assert made.find(made.start(WRITE)).name == WRITE


def test_nobody_makes_another_of_it(made):
    given, number, name, _ = made.start(READ).split(".")
    other = made.start(WRITE).split(".")
    assert made.find(".".join((given, number, other[2], made.start(READ).split(".")[3]))) is None
    assert made.find(".".join((*other[:2], name, other[3]))) is None


def test_who_is_known_no_more_has_none(clock):
    keys = dict(KEYS)
    sessions = Sessions(keys.get)
    cookie = sessions.start(WRITE)
    keys[WRITE] = b"the key of another token"
    assert sessions.find(cookie) is None
    del keys[WRITE]
    assert sessions.find(cookie) is None
    assert sessions.start(WRITE) is None


def test_no_two_are_alike(made):
    assert len({made.start(READ) for _ in range(100)}) == 100


def test_another_worker_knows_it(made):
    assert remade().find(made.start(READ)).name == READ


def test_it_ends(made, clock):
    cookie = made.start(READ)
    session = made.find(cookie)
    made.end(session.number, session.given)
    assert made.find(cookie) is None
    assert made.find(made.start(READ)) is not None


def test_it_ends_by_itself(made, clock):
    cookie = made.start(READ)
    clock.now += SESSION_SECONDS - 1
    assert made.find(cookie) is not None
    clock.now += 3
    assert made.find(cookie) is None


def test_a_worker_that_starts_anew_takes_none_that_may_have_ended(made, clock):
    cookie = made.start(READ)
    clock.now += 60
    assert remade().find(cookie) is None


def test_a_clock_may_be_a_little_ahead_and_no_more(made, clock):
    clock.now += 30
    ahead = made.start(READ)
    clock.now += 60
    far_ahead = made.start(READ)
    clock.now -= 90
    assert made.find(ahead) is not None
    assert made.find(far_ahead) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c[:-1] + ("1" if c[-1] == "0" else "0"),
        lambda c: ("9" if c[0] != "9" else "8") + c[1:],
        lambda c: c.upper(),
        lambda c: c + "0",
    ],
)
def test_nobody_makes_one_or_changes_one(made, change):
    cookie = made.start(READ)
    assert made.find(cookie) is not None
    assert made.find(change(cookie)) is None


@pytest.mark.parametrize("cookie", ["", ".", "..", "a.b.c", READ, "1." + "0" * 32 + ".QQ." + "0" * 64, "\udcff"])
def test_what_is_none(made, cookie):
    assert made.find(cookie) is None


def test_what_has_ended_is_remembered_within_bounds(made, clock, monkeypatch):
    """Those that cannot be remembered end with all that are as old."""
    monkeypatch.setattr(module, "_ENDED_MAX", 100)
    cookies = []
    for _ in range(1_000):
        clock.now += 1
        cookies.append(made.start(READ))
        session = made.find(cookies[-1])
        made.end(session.number, session.given)
    assert len(made._ended) <= 100
    assert [made.find(cookie) for cookie in cookies] == [None] * 1_000
    clock.now += 1
    assert made.find(made.start(READ)) is not None


def test_what_would_have_ended_by_itself_is_forgotten_first(made, clock, monkeypatch):
    monkeypatch.setattr(module, "_ENDED_MAX", 100)
    for number in range(100):
        made.end(f"{number:032x}", int(clock.now))
    clock.now += SESSION_SECONDS
    going_on = made.start(READ)
    made.end("f" * 32, int(clock.now))
    assert len(made._ended) == 1
    assert made.find(going_on) is not None


# Over HTTP


async def sign_in(worker, token=READ_TOKEN, **headers):
    options = {"data": {"token": token}, "allow_redirects": False, "headers": headers}
    async with worker.session.post(worker.url + "/login", **options) as response:
        return response.status, response.cookies.get(SESSION_COOKIE), response.headers


async def reads(worker, cookie):
    """Say whether a cookie reads."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        headers = {"Cookie": f"{SESSION_COOKIE}={cookie.value}"}
        async with session.get(worker.url + "/api/v1/statuses", headers=headers) as response:
            return response.status == 200


async def sign_out(worker, cookie):
    headers = {"Cookie": f"{SESSION_COOKIE}={cookie.value}"}
    async with worker.session.post(worker.url + "/logout", headers=headers, allow_redirects=False) as response:
        return response.cookies[SESSION_COOKIE]


async def test_who_signs_out_at_one_worker_is_out_at_all():
    async with workers(3, TheGroup(), read_token=READ_TOKEN) as made:
        _, cookie, _ = await sign_in(made[0])
        _, other, _ = await sign_in(made[1])
        assert [await reads(worker, cookie) for worker in made] == [True] * 3
        gone = await sign_out(made[1], cookie)
        assert (gone.value, gone["max-age"]) == ("", "0")
        assert [await reads(worker, cookie) for worker in made] == [False] * 3
        assert [await reads(worker, other) for worker in made] == [True] * 3


async def test_one_worker_that_cannot_be_told_does_not_keep_anybody_in():
    group = TheGroup()
    async with workers(3, group, read_token=READ_TOKEN) as made:
        _, cookie, _ = await sign_in(made[0])
        await made[2].server.stop()
        await sign_out(made[0], cookie)
        assert [await reads(worker, cookie) for worker in made[:2]] == [False] * 2


async def test_nobody_but_a_worker_ends_sessions():
    async with workers(1, read_token=READ_TOKEN) as [one]:
        path, body = "/internal/v1/ended-sessions", b'{"number":"' + b"0" * 32 + b'","given":1}'
        headers = {"Content-Type": "application/json"}
        for token in (None, READ_TOKEN, WRITE_TOKEN):
            assert (await one.ask(path, token, "POST", data=body, headers=headers))[0] == 403


@pytest.mark.parametrize(
    ("trusted", "headers", "is_secure"),
    [
        ("127.0.0.1", {"X-Forwarded-Proto": "https"}, True),
        ("127.0.0.0/8", {"X-Forwarded-Proto": "HTTPS, http"}, True),
        ("127.0.0.1", {"X-Forwarded-Proto": "http"}, False),
        ("127.0.0.1", {}, False),
        ("10.0.0.0/8", {"X-Forwarded-Proto": "https"}, False),
        ("", {"X-Forwarded-Proto": "https"}, False),
    ],
)
async def test_behind_tls_the_cookie_stays_there(trusted, headers, is_secure):
    from processor.settings import load

    proxies = load({"DELIVERY_TRUSTED_PROXIES": trusted}).trusted_proxies
    async with workers(1, read_token=READ_TOKEN, trusted_proxies=proxies) as [one]:
        status, cookie, _ = await sign_in(one, **headers)
        assert status == 303
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
        assert bool(cookie["secure"]) is is_secure


async def test_wrong_tokens_are_limited_and_the_owner_gets_in_again(monkeypatch):
    async with workers(1, read_token=READ_TOKEN) as [one]:
        statuses = [(await sign_in(one, "wrong"))[0] for _ in range(12)]
        assert statuses == [403] * 10 + [429] * 2
        status, cookie, headers = await sign_in(one)
        assert (status, cookie) == (429, None)
        assert 1 <= int(headers["Retry-After"]) <= 6
        # Programs with the right token are not shut out by it.
        assert (await one.ask("/api/v1/statuses", READ_TOKEN))[0] == 200
        later = time.monotonic() + int(headers["Retry-After"])
        monkeypatch.setattr("processor.web.attempts.time.monotonic", lambda: later)
        assert (await sign_in(one))[0] == 303


async def test_a_form_that_is_none_of_ours_is_refused():
    async with workers(1, read_token=READ_TOKEN) as [one]:
        for body in (b"token=%FF", b"\xff", b"a=1&" * 100, "token=\N{SNOWMAN}".encode("utf-16")):
            headers = {"Content-Type": "application/x-www-form-urlencoded; charset=rot13"}
            async with one.session.post(one.url + "/login", data=body, headers=headers) as response:
                assert response.status in {400, 403}


async def test_many_sign_in_at_once():
    async with workers(1, read_token=READ_TOKEN) as [one]:
        answers = await asyncio.gather(*[sign_in(one) for _ in range(30)])
        assert {status for status, _, _ in answers} == {303}
