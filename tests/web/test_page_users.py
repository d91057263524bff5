"""Who is signed in, as every page says it, and the ways in and out."""

from ipaddress import ip_network
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient, TestServer

from processor.settings import Settings
from processor.users import Role
from tests.web.document import parse
from tests.web.page_reader import Reader
from tests.web.page_server import CLOSED, OPEN, Stream, application
from tests.web.world import FAILED_MESSAGE, READ_TOKEN, WRITE_TOKEN, World

PAGES = ("/", "/deliveries?q=autumn", "/deliveries/DM1042", f"/messages/{FAILED_MESSAGE}", "/statuses", "/nothing/here")

BY_PROXY = Settings(
    user_proxies=(ip_network("127.0.0.1"),),
    user_roles={"support": Role.READER, "ops": Role.OPERATOR},
    sign_out_url="/oauth2/sign_out",
)
ULLA = {"X-Forwarded-User": "ulla_ek@example.com", "X-Forwarded-Groups": "ops"}


@pytest.fixture
async def visit():
    """Visit the page of a worker with some settings."""
    clients = []

    async def visit(settings: Settings) -> Reader:
        client = TestClient(TestServer(application(World(), Stream(), settings)))
        await client.start_server()
        clients.append(client)
        return Reader(client)

    yield visit
    for client in clients:
        await client.close()


async def page_of(reader: Reader, path: str, **headers: str):
    async with reader.client.get(path, headers=headers) as response:
        return parse(await response.text())


async def test_where_reading_needs_no_token_every_page_leads_to_signing_in(visit):
    reader = await visit(OPEN)
    for path in PAGES:
        page = await page_of(reader, path)
        assert not page.all("p", class_="user")
        assert not page.all("form", class_="leave")
        assert f"/login?next={quote(path, safe='')}" in [link["href"] for link in page.all("a")]


async def test_without_tokens_there_is_nothing_to_sign_in_with(visit):
    reader = await visit(Settings())
    page = await page_of(reader, "/")
    assert not [link for link in page.all("a") if link["href"].startswith("/login")]


@pytest.mark.parametrize(
    ("token", "language", "told"),
    [
        (READ_TOKEN, "en", "Signed in as read token Reader"),
        (WRITE_TOKEN, "en", "Signed in as write token Operator"),
        (WRITE_TOKEN, "sv", "Inloggad som skrivnyckel Operatör"),
    ],
)
async def test_every_page_says_who_is_signed_in_and_leads_out(visit, token, language, told):
    reader = await visit(CLOSED)
    assert await reader.send("/login", 303, token=token, next="/deliveries") == "/deliveries"
    for path in PAGES:
        page = await page_of(reader, path, **{"Accept-Language": language})
        assert " ".join(page.one("p", class_="user").text.split()) == told
        assert page.one("form", class_="leave")["action"] == "/logout"
    assert await reader.send("/logout", 303) == "/"
    assert await reader.leads_to("/") == "/login?next=%2F"


async def test_the_form_to_sign_in_is_for_whoever_may_read_too_and_tells_a_wrong_token(visit):
    reader = await visit(OPEN)
    page = await page_of(reader, "/login?next=/statuses")
    assert page.one("input", id="token")["type"] == "password"
    wrong = await reader.send("/login", 403, token="nonsense", next="/statuses")
    assert "not known" in wrong.one(role="alert").text
    assert await reader.send("/login", 303, token=WRITE_TOKEN, next="/statuses") == "/statuses"
    assert await reader.leads_to("/login?next=/statuses") == "/statuses"


async def test_users_of_a_proxy_go_by_name_and_sign_out_there(visit):
    reader = await visit(BY_PROXY)
    for path in PAGES:
        page = await page_of(reader, path, **ULLA)
        assert " ".join(page.one("p", class_="user").text.split()) == "Signed in as ulla_ek@example.com Operator"
        assert not page.all("form", class_="leave")
        assert "/oauth2/sign_out" in [link["href"] for link in page.all("a")]


async def test_who_has_no_role_is_told_so_and_can_leave(visit):
    reader = await visit(BY_PROXY)
    async with reader.client.get("/", headers={**ULLA, "X-Forwarded-Groups": "others"}) as response:
        assert response.status == 403
        page = parse(await response.text())
    assert page.one("h1").text == "Not with this role"
    assert "is in no group that has a role" in page.text
    assert " ".join(page.one("p", class_="user").text.split()).endswith("No role")
    assert "/oauth2/sign_out" in [link["href"] for link in page.all("a")]
    async with reader.client.get("/") as response:
        assert response.status == 403
