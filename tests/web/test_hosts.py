"""Which hosts a request may ask for: over plain sockets, since clients and libraries tidy up what they send."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from processor.settings import Settings
from processor.web.hosts import Hosts, is_loopback
from tests.web.workers import workers

PATHS = ["/livez", "/readyz", "/metrics", "/", "/login", "/api/v1/overview", "/api/openapi.json", "/nothing"]
PATHS += ["/internal/v1/report", "/static/app.css"]


@asynccontextmanager
async def served(**settings):
    async with workers(1, **{"write_token": "", "internal_token": "", **settings}) as [worker]:

        async def ask(head: str) -> int:
            host, port = worker.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(head.replace("\n", "\r\n").encode("latin-1") + b"\r\nConnection: close\r\n\r\n")
            line = await asyncio.wait_for(reader.readline(), 60)
            writer.close()
            return int(line.split()[1])

        yield ask


@pytest.mark.parametrize("host", ["evil.example.com", "localhost.evil.example", "127.0.0.1.nip.io", "evil"])
async def test_a_foreign_name_is_refused_on_every_route(host):
    async with served() as ask:
        for path in PATHS:
            assert (path, await ask(f"GET {path} HTTP/1.1\nHost: {host}:8080")) == (path, 403)
        assert await ask(f"POST /login HTTP/1.1\nHost: {host}\nContent-Length: 0") == 403
        assert await ask(f"OPTIONS / HTTP/1.1\nHost: {host}") == 403


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:1", "10.1.2.3:8080", "[::1]:8080", "localhost", "LOCALHOST.:80"]
)
async def test_probes_by_address_and_localhost_go_on_to_work(host):
    async with served() as ask:
        for path in ("/livez", "/readyz", "/metrics"):
            assert await ask(f"GET {path} HTTP/1.1\nHost: {host}") == 200


async def test_an_address_that_is_not_loopback_still_may_not_read():
    async with served() as ask:
        assert await ask("GET /api/v1/statuses HTTP/1.1\nHost: 10.1.2.3:8080") == 403
        assert await ask("GET /api/v1/statuses HTTP/1.1\nHost: 127.0.0.1:8080") == 200


@pytest.mark.parametrize(
    "head",
    [
        "GET /livez HTTP/1.1\nHost: localhost\nHost: evil.example.com",
        "GET /livez HTTP/1.1\nHost: localhost\nhost: localhost",
        "GET /livez HTTP/1.1\nHost:",
        "GET /livez HTTP/1.1",
        "GET /livez HTTP/1.1\nHost: localhost@evil.example.com",
        "GET /livez HTTP/1.1\nHost: evil.example.com#localhost",
        "GET /livez HTTP/1.1\nHost: [::1].evil.example.com",
        "GET /livez HTTP/1.1\nHost: localhost:80:80",
        "GET /livez HTTP/1.1\nHost: 127.1",
        "GET /livez HTTP/1.1\nHost: 2130706433",
        "GET /livez HTTP/1.1\nHost: 0x7f.1",
        "GET /livez HTTP/1.1\nHost: l\xf6calhost",
        "GET http://localhost/livez HTTP/1.1\nHost: evil.example.com",
        "GET http://evil.example.com/livez HTTP/1.1\nHost: localhost",
        "GET /livez HTTP/1.1\nHost: evil.example.com\nX-Forwarded-Host: localhost",
        "GET /api/v1/overview HTTP/1.1\nHost: localhost\nAuthorization: Bearer a\nAuthorization: Bearer b",
    ],
)
async def test_what_can_be_read_in_two_ways_is_refused(head):
    async with served() as ask:
        assert 400 <= await ask(head) < 404


async def test_a_check_of_http_1_0_that_names_no_host_is_answered_and_reads_nothing():
    async with served() as ask:
        assert await ask("GET /livez HTTP/1.0") == 200
        assert await ask("GET /api/v1/overview HTTP/1.0") == 403


@pytest.mark.parametrize(
    ("settings", "host", "expected"),
    [
        ({"http_allowed_hosts": ("status.example.com",)}, "Status.Example.com.", True),
        ({"http_allowed_hosts": ("status.example.com",)}, "example.com", False),
        ({"http_allowed_hosts": (".example.com",)}, "a.example.com", True),
        ({"http_allowed_hosts": (".example.com",)}, "example.com", False),
        ({"http_allowed_hosts": (".example.com",)}, "evilexample.com", False),
        ({"http_allowed_hosts": ("*",)}, "evil.example.com", True),
        ({"advertised_url": "http://worker-0.workers:8080"}, "worker-0.workers", True),
        ({"http_host": "worker.internal"}, "worker.internal", True),
        ({}, "worker-0", True),
        ({}, "", False),
        ({}, None, False),
    ],
)
def test_names_of_ours(monkeypatch, settings, host, expected):
    monkeypatch.setattr("processor.web.hosts.socket.gethostname", lambda: "worker-0.example.org")
    assert Hosts(Settings(**settings)).has(host and host.lower().rstrip(".")) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("example.com", False), ("", False)],
)
def test_loopback(host, expected):
    assert is_loopback(host) is expected
