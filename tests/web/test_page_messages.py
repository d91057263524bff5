"""Numbers lead to the messages behind them, and the list agrees with the number."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from aiohttp.test_utils import TestClient, TestServer

from processor.domain.moment import to_microseconds, to_rfc3339
from processor.domain.traits import INDICATED, Indicator
from tests.views.told import MINUTE
from tests.web.campaigns import MAIL, Campaign
from tests.web.document import Element
from tests.web.page_reader import Reader
from tests.web.page_server import Stream, application
from tests.web.workers import event
from tests.web.world import World

#: The failed messages of a delivery by the category of their reason.
FAILED = {"user_unknown": 70, "mailbox_full": 25, "refused": 8, "undefined": 2}
IGNORED = {"denylisted": 9, "quarantined": 4}
STANDING = {"pending": 3, "taken_into_account": 4, "sent": 60}
ODD = 'Höst/7 "<b>&?#%'


def _reported(delivery_id: str, now: int) -> Iterator[dict]:
    """Give what was reported of a delivery's messages, as many as its counts say."""
    number = 0

    def report(status: str, **more) -> dict:
        nonlocal number
        number += 1
        time = to_rfc3339(now - number * 1_000_000)
        domain = "example.com" if number % 3 else "example.org"
        named = {"delivery_id": delivery_id, "provider": "kumomta", "recipient": f"person{number}@{domain}"}
        return event(f"{delivery_id}-{number}", status, time, **named, **more)

    for status, count in STANDING.items():
        yield from (report(status) for _ in range(count))
    for status, categories in (("failed", FAILED), ("ignored", IGNORED)):
        for category, count in categories.items():
            yield from (report(status, reason={"category": category, "permanence": "permanent"}) for _ in range(count))


@pytest.fixture
def world() -> World:
    statuses = {**STANDING, "failed": sum(FAILED.values()), "ignored": sum(IGNORED.values())}
    campaigns = [
        Campaign(name, MAIL, ("start",), statuses=statuses, failed=FAILED, ignored=IGNORED) for name in ("DM7", ODD)
    ]
    world = World(campaigns=campaigns, is_well=True)
    now = to_microseconds(world.now) - MINUTE
    world.rows = {}
    for name in ("DM7", ODD):
        world.report_events(_reported(name, now))
    return world


@pytest.fixture
async def reader(world) -> AsyncIterator[Reader]:
    async with TestClient(TestServer(application(world, Stream()))) as client:
        yield Reader(client)


async def listed(reader: Reader, address: str) -> tuple[str, list[str]]:
    """Give the heading of a list, and all its messages, page after page."""
    page = await reader.get(address)
    heading = page.one(id="list-title").text
    messages = []
    while True:
        rows = page.one(id="list").all("th", scope="row")
        messages += [row.one("a").text for row in rows]
        more = page.all("a", rel="next")
        if not more:
            return heading, messages
        page = await reader.get(more[0]["href"])


def numbers_of(page: Element) -> dict[str, int]:
    """Give the numbers of a page that are links to messages, by address."""
    links = [link for link in page.all("a", class_="counted") if "/messages" in link["href"]]
    # What is counted over time is counted by the clock, and listed by the time of events.
    links = [link for link in links if "since=" not in link["href"]]
    return {link["href"]: int(link.text.replace(",", "")) for link in links if "%" not in link.text}


@pytest.mark.parametrize(
    ("path", "least"), [("/", 8), ("/deliveries/DM7", 15), (f"/deliveries/{quote(ODD, safe='')}", 15)]
)
async def test_each_number_leads_to_as_many_messages(reader, path, least):
    numbers = numbers_of(await reader.get(path))
    assert len(numbers) >= least
    for address, number in numbers.items():
        heading, messages = await listed(reader, address)
        assert heading == f"{number:,} message{'s' if number > 1 else ''}", address
        assert len(messages) == len(set(messages)) == number, address


async def test_a_number_over_time_leads_to_messages_of_that_time(reader):
    history = (await reader.get("/deliveries/DM7")).one(id="history")
    links = [link["href"] for link in history.all("a", class_="counted")]
    assert any("until=" not in each for each in links)
    assert any("until=" in each for each in links)
    for address in links:
        assert "Status since, from:" in (await reader.get(address)).text


async def test_the_form_keeps_what_only_links_set(reader):
    page = await reader.get("/messages?rejected=sent&permanence=gave_up&until=2999-01-01T00:00:00Z")
    hidden = {each["name"]: each["value"] for each in page.one("form", class_="filters").all("input", type="hidden")}
    assert hidden == {"rejected": "sent", "permanence": "gave_up", "until": "2999-01-01T00:00:00Z"}


async def test_no_number_of_messages_leads_nowhere(reader):
    page = await reader.get("/deliveries/DM7")
    for section in ("statuses", "reasons", "now"):
        for cell in page.one(id=section).all("td", class_="number"):
            if "wide-only" not in cell.classes and cell.text != "0":
                assert cell.all("a"), cell.text


async def test_the_form_keeps_what_was_given(reader):
    page = await reader.get("/deliveries/DM7/messages?status=failed&category=refused&domain=example.org&changed=1h")
    assert page.one(id="f-status").one("option", selected="").text == "Failed"
    assert page.one(id="f-category").one("option", selected="").text == "Refused"
    assert page.one(id="f-domain")["value"] == "example.org"
    assert page.one(id="f-changed").one("option", selected="").text == "In the last hour"
    rows = page.one(id="list").all("tr")[1:]
    assert rows
    assert all("Refused" in row.text and "@example.org" in row.text for row in rows)


async def test_turning_pages_keeps_the_filters(reader):
    page = await reader.get("/deliveries/DM7/messages?status=failed")
    query = parse_qs(urlsplit(page.one("a", rel="next")["href"]).query)
    assert query["status"] == ["failed"]
    assert query["cursor"]


async def test_a_row_leads_to_its_message(reader):
    page = await reader.get("/deliveries/DM7/messages?status=ignored")
    link = page.one(id="list").all("th", scope="row")[0].one("a")
    assert (await reader.get(link["href"])).one("h1").text == link.text


async def test_a_list_of_all_names_the_deliveries(reader):
    page = await reader.get("/messages?status=ignored")
    addresses = {each.one("td", class_="of").one("a")["href"] for each in page.one(id="list").all("tr")[1:]}
    assert addresses == {"/deliveries/DM7", f"/deliveries/{quote(ODD, safe='')}"}


async def test_recipients_are_masked(reader):
    page = await reader.get("/deliveries/DM7/messages?status=ignored")
    assert "p***" in page.one(id="list").text
    assert "person" not in page.one(id="list").text


async def test_the_whole_list_can_be_had_as_a_file(reader):
    page = await reader.get("/deliveries/DM7/messages?status=failed&domain=example.org")
    links = {each.text: each["href"] for each in page.one("p", class_="downloads").all("a")}
    asked = "/api/v1/messages?delivery=DM7&status=failed&domain=example.org&format="
    assert links == {"CSV": f"{asked}csv", "JSON Lines": f"{asked}ndjson"}
    page = await reader.get("/messages")
    assert page.one("p", class_="downloads").all("a")[0]["href"] == "/api/v1/messages?format=csv"


async def test_an_empty_list_says_why(reader, world):
    page = await reader.get("/deliveries/DM7/messages?domain=nowhere.example")
    assert "No message fits these filters" in page.one(id="list").text
    world.tell(Campaign("DM8", MAIL, ("start",)))
    page = await reader.get("/deliveries/DM8/messages")
    assert "as soon as an event names it" in page.one(id="list").text


async def test_partitions_that_cannot_be_asked_are_named(reader, world):
    world.recovering = (2,)
    page = await reader.get("/deliveries/DM7/messages?status=failed")
    assert "Partitions 2 recover" in page.one(id="incomplete").text


async def test_messages_without_a_delivery_have_a_list_of_their_own(reader, world):
    world.tell_undelivered({"email": 2})
    times = [to_rfc3339(to_microseconds(world.now) - number * MINUTE) for number in (1, 2)]
    world.report_events(event(f"lone-{number}", "sent", time) for number, time in enumerate(times))
    page = await reader.get("/no-delivery")
    [address] = {each for each in numbers_of(page) if "status=sent" in each}
    assert await listed(reader, address) == ("2 messages", ["lone-0", "lone-1"])


@pytest.mark.parametrize("query", ["status=broken", "category=x", "stuck=maybe", "cursor=x"])
async def test_what_cannot_be_asked_is_said(reader, query):
    page = await reader.get(f"/deliveries/DM7/messages?{query}", 400)
    assert page.one("h1").text == "That cannot be asked"


async def test_an_unknown_delivery_has_no_list(reader):
    await reader.get("/deliveries/none-such/messages", 404)


async def test_what_is_counted_as_a_success_is_what_is_listed(world, reader):
    """Whatever the setting says: at a delivery, and in the list of all."""
    for success_from, statuses in INDICATED.items():
        world._deliveries.success_from = success_from
        expected = sum(STANDING.get(status.value, 0) for status in statuses[Indicator.SUCCESS])
        _, messages = await listed(reader, "/deliveries/DM7/messages?indicator=success")
        assert len(messages) == expected
        heading, messages = await listed(reader, "/messages?indicator=success")
        assert len(messages) == 2 * expected
        assert f"{2 * expected}" in heading
