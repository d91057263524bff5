"""What others wrote stays text on the page: no element, attribute, script or address comes of it."""

from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from processor.domain.moment import to_microseconds, to_rfc3339
from tests.web import page_server
from tests.web.campaigns import HELD
from tests.web.workers import event
from tests.web.world import World

pytestmark = pytest.mark.slow

HOSTILE = "</title></script><script>alert(1)</script><img src=x onerror=alert(1)>\" onload='x' {{ 7*7 }} \x1b[2J \u202e"
BENIGN = "a text"


class Shape(HTMLParser):
    """The elements of a page with the names of their attributes, and all addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, tuple(name for name, _ in attributes)))
        self.addresses += [value or "" for name, value in attributes if name in {"href", "src", "action"}]


def world_with(text: str) -> World:
    world = World()
    for campaign in list(world.campaigns.values()):
        world.tell(replace(campaign, providers={text: 3}, label=text, campaign=text))
    time = to_rfc3339(to_microseconds(world.now))
    reason = {"permanence": "permanent", "text": text, "code": text, "provider_code": text}
    named = {"delivery_id": text, "recipient": text, "provider": text, "provider_message_id": text}
    world.report_events([event(text, "failed", time, **named, reason=reason)])
    return world


async def read(text: str, path: str, status: int = 200) -> str:
    application = page_server.application(world_with(text), page_server.Stream())
    async with TestClient(TestServer(application)) as client, client.get(URL(path, encoded=True)) as answer:
        assert answer.status == status
        return await answer.text()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/deliveries",
        f"/deliveries/{HELD}",
        f"/deliveries/{HELD}/messages",
        f"/deliveries/{HELD}/domains",
        f"/deliveries/{HELD}/exclusions",
        f"/deliveries/{HELD}/audit",
        "/messages",
        "/messages/{text}",
    ],
)
async def test_what_others_wrote_is_text(path):
    page, plain = [await read(text, path.format(text=quote(text, safe=""))) for text in (HOSTILE, BENIGN)]
    shape, usual = Shape(page), Shape(plain)
    assert shape.elements == usual.elements
    assert "\x1b" not in page
    assert "\u202e" not in page
    for address in shape.addresses:
        assert address.startswith(("/", "#")), address


@pytest.mark.parametrize("path", ["/%3Cscript%3E", "/messages/%3Cscript%3E%22", "/deliveries?q=%22%3E%3Cscript%3E"])
async def test_what_is_asked_for_is_text(path):
    page = await read(BENIGN, path, 200 if "?" in path else 404)
    assert "<script>" not in page


@pytest.mark.parametrize("path", ["//evil.example/x", "///evil.example", "/%2f/evil.example"])
async def test_no_link_leads_to_another_site(path):
    """A browser takes an address with two slashes in front for another host."""
    application = page_server.application(World(), page_server.Stream())
    async with TestServer(application) as server, TestClient(server) as client:
        url = URL(str(server.make_url("/")).rstrip("/") + path, encoded=True)
        async with client.session.get(url) as answer:
            page = await answer.text()
    for address in Shape(page).addresses:
        assert not address.startswith(("//", "/\\")), address
