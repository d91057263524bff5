"""How workers know each other: what a signature is good for, and when none is needed."""

import time

import pytest
from aiohttp.test_utils import make_mocked_request

from processor.settings import Settings
from processor.web.hops import HOP_HEADER, Hops
from processor.web.problems import ProblemError

WRITE, HOP = "a-token-to-write-with", "a-token-among-workers"
URL, PATH = "http://10.0.0.5:8080", "/internal/v1/messages/a%2Fb?reveal=true"


def hops(**settings):
    return Hops(Settings(**(settings or {"internal_token": HOP})), lambda: URL)


def request(headers, *, path=PATH, method="GET", remote="127.0.0.1", host="localhost:8080"):
    return make_mocked_request(method, path, headers={"Host": host, **headers}).clone(remote=remote)


async def refused(judge, asked) -> str:
    with pytest.raises(ProblemError) as problem:
        await judge.check(asked)
    assert problem.value.kind.status == 403
    return str(problem.value)


async def test_a_worker_knows_another():
    assert await hops().check(request(hops().sign(URL, PATH), remote="10.0.0.7")) is True


async def test_the_write_token_serves_where_there_is_no_other():
    signed = hops(write_token=WRITE).sign(URL, PATH)
    assert await hops(write_token=WRITE).check(request(signed)) is True
    await refused(hops(), request(signed))


def test_the_token_does_not_travel():
    assert HOP not in str(hops().sign(URL, PATH))


async def test_it_is_for_one_path_method_and_worker():
    for signed in (
        hops().sign(URL, PATH.replace("true", "false")),
        hops().sign(URL, PATH, "POST"),
        hops().sign("http://10.0.0.6:8080", PATH),
        hops().sign(URL, PATH, body=b"{}"),
    ):
        await refused(hops(), request(signed))


async def test_it_is_taken_once():
    judge, signed = hops(), hops().sign(URL, PATH)
    await judge.check(request(signed))
    assert "before" in await refused(judge, request(signed))


async def test_of_two_neither_counts():
    signed = hops().sign(URL, PATH)[HOP_HEADER]
    await refused(hops(), request({HOP_HEADER: f"{signed},{signed}"}))


@pytest.mark.parametrize("seconds", [61, -61, 10**9])
async def test_it_gets_old(monkeypatch, seconds):
    signed, then = hops().sign(URL, PATH), time.time() + seconds
    monkeypatch.setattr(time, "time", lambda: then)
    assert "clocks" in await refused(hops(), request(signed))


async def test_what_was_taken_is_forgotten_when_it_is_old(monkeypatch):
    judge = hops()
    for _ in range(10):
        await judge.check(request(hops().sign(URL, PATH)))
    later = time.monotonic() + 1_000
    monkeypatch.setattr(time, "monotonic", lambda: later)
    await judge.check(request(hops().sign(URL, PATH)))
    assert len(judge._taken) == 1


@pytest.mark.parametrize(
    "header",
    ["", "unsigned", "t=1", "t=1,v1=00", "t={now},v1=" + "0" * 64, "t={now},n=" + "0" * 32 + ",v2=" + "0" * 64],
)
async def test_what_is_not_signed_is_refused(header):
    await refused(hops(), request({HOP_HEADER: header.replace("{now}", str(int(time.time())))}))


class TestWithoutAToken:
    async def test_this_machine_is_believed_and_told_no_recipients(self):
        judge = hops(brokers="a:1")
        assert await judge.check(request(judge.sign(URL, PATH))) is False

    async def test_nothing_else_is(self):
        judge = hops(brokers="a:1")
        unsigned = judge.sign(URL, PATH)
        await refused(judge, request(unsigned, remote="10.0.0.7"))
        await refused(judge, request(unsigned, host="evil.example.com"))
        await refused(judge, request({**unsigned, "X-Forwarded-For": "10.0.0.7"}))
        await refused(judge, request({}))
        await refused(judge, request({HOP_HEADER: ""}))
        await refused(judge, request({HOP_HEADER: "x"}))

    async def test_nobody_is_once_the_server_is_bound_beyond_it(self):
        judge = hops(http_host="0.0.0.0")
        assert "DELIVERY_INTERNAL_TOKEN" in await refused(judge, request(judge.sign(URL, PATH)))

    async def test_nobody_is_once_a_token_is_set(self):
        """A read token says that not everybody on this machine may read."""
        judge = hops(read_token="a-token-to-read-with")
        await refused(judge, request(judge.sign(URL, PATH)))
