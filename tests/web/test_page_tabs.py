"""The tabs of a delivery: domains with their reasons, exclusions with their rules, audit."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient, TestServer

from processor.domain.moment import to_microseconds, to_rfc3339
from processor.views import breakdown
from tests.views.told import MINUTE
from tests.web.campaigns import MAIL, SMS, Campaign
from tests.web.document import Element
from tests.web.page_reader import Reader
from tests.web.page_server import Stream, application
from tests.web.test_page_messages import listed
from tests.web.workers import event
from tests.web.world import World

ODD = 'Höst/7 "<b>&?#%'
#: Messages by domain: those that were sent, and those that failed.
PLACES = {"big.example": (30, 20), "small.example": (6, 3), "well.example": (5, 0)}
RULES = {("denylisted", "Global opt-out"): 6, ("denylisted", "List of ulla@example.com"): 2, ("duplicate", ""): 3}
#: Two countries by the beginning of their numbers, and one number that tells none.
NUMBERS = {"+4670123450": 7, "+35840123450": 4, "07012345": 1}


def _mail(delivery_id: str, now: int) -> Iterator[dict]:
    times = (to_rfc3339(now - number * 1_000_000) for number in range(10_000))
    named = {"delivery_id": delivery_id, "provider": "kumomta"}
    for domain, (sent, failed) in PLACES.items():
        for number in range(sent):
            yield event(f"{delivery_id}-{domain}-s{number}", "sent", next(times), **named, recipient=f"a@{domain}")
        for number in range(failed):
            reason = {"category": "mailbox_full" if number % 3 else "user_unknown", "permanence": "permanent"}
            identity = f"{delivery_id}-{domain}-f{number}"
            yield event(identity, "failed", next(times), **named, recipient=f"a@{domain}", reason=reason)
    for (category, words), count in RULES.items():
        reason = {"category": category, **({"text": words} if words else {})}
        for number in range(count):
            yield event(f"{delivery_id}-{category}-{words}{number}", "ignored", next(times), **named, reason=reason)


def _phone(now: int) -> Iterator[dict]:
    for start, count in NUMBERS.items():
        for number in range(count):
            recipient = f"{start}{number}"
            yield event(f"s{recipient}", "sent", to_rfc3339(now), delivery_id="SMS", channel="sms", recipient=recipient)


@pytest.fixture
def world() -> World:
    sent, failed = (sum(numbers) for numbers in zip(*PLACES.values(), strict=True))
    ignored = {"denylisted": 8, "duplicate": 3}
    statuses = {"sent": sent, "failed": failed, "ignored": 11}
    campaigns = [Campaign(name, MAIL, ("start",), statuses=statuses, ignored=ignored) for name in ("DM7", ODD)]
    campaigns.append(Campaign("SMS", SMS, ("start",), statuses={"sent": sum(NUMBERS.values())}))
    campaigns.append(Campaign("DM8", MAIL, ("start", "pause"), "Spring", campaign="spring", planned=12))
    world = World(campaigns=campaigns, is_well=True)
    now = to_microseconds(world.now) - MINUTE
    world.rows = {}
    for name in ("DM7", ODD):
        world.report_events(_mail(name, now))
    world.report_events(_phone(now))
    return world


@pytest.fixture
async def reader(world) -> AsyncIterator[Reader]:
    async with TestClient(TestServer(application(world, Stream()))) as client:
        yield Reader(client)


def rows_of(page: Element, identifier: str) -> dict[str, list[str]]:
    return {name: cells for name, *cells in page.one(id=identifier).one("table").rows()[1:]}


# Domains


@pytest.mark.parametrize("delivery_id", ["DM7", ODD])
async def test_domains_have_their_numbers_and_these_lead_to_the_messages(reader, delivery_id):
    page = await reader.get(f"/deliveries/{quote(delivery_id, safe='')}/domains")
    assert page.one("nav", class_="tabs").one("a", aria_current="page").text == "Domains"
    rows = rows_of(page, "domains")
    assert {name: tuple(cells[:3]) for name, cells in rows.items() if name != "Not known"} == {
        domain: (str(sent + failed), str(sent), str(failed)) for domain, (sent, failed) in PLACES.items()
    }
    assert rows["Not known"][0] == "11"
    links = page.one(id="domains").all("a", class_="counted")
    assert len(links) == 8
    for link in links:
        heading, messages = await listed(reader, link["href"])
        assert heading == f"{link.text} message{'s' if link.text != '1' else ''}"
        assert len(messages) == int(link.text)


async def test_a_domain_leads_to_its_reasons(reader):
    page = await reader.get("/deliveries/DM7/domains")
    page = await reader.get(next(link["href"] for link in page.all("a") if link.text == "big.example"))
    assert {name: cells[0] for name, cells in rows_of(page, "domains").items()} == {
        "Mailbox full 5": "13",
        "User unknown 1": "7",
    }
    for link in page.one(id="domains").all("a", class_="counted"):
        assert len((await listed(reader, link["href"]))[1]) == int(link.text)


async def test_a_domain_has_its_history(reader):
    history = (await reader.get("/deliveries/DM7/domains?place=big.example&span=1h")).one(id="history")
    assert [each.one("dd").text for each in history.all("div", class_="tile")] == ["50", "30", "20", "7", "13"]
    assert "Each message once" in history.text
    spans = [each["href"] for each in history.all("a") if each["href"].endswith("#history")]
    assert spans[0] == "/deliveries/DM7/domains?place=big.example&span=3h#history"
    for link in history.all("a", class_="counted"):
        assert len((await listed(reader, link["href"]))[1]) == int(link.text)


async def test_a_domain_where_nothing_failed_says_so(reader):
    page = await reader.get("/deliveries/DM7/domains?place=well.example")
    assert "No message to it has failed." in page.one(id="domains").text


async def test_numbers_are_put_together_by_country(reader):
    page = await reader.get("/deliveries/SMS/domains")
    rows = rows_of(page, "domains")
    assert {name: cells[0] for name, cells in rows.items()} == {"+46 SE": "7", "+358 FI": "4", "Not known": "1"}
    link = next(each for each in page.all("a", class_="counted") if each.text == "4")
    assert len((await listed(reader, link["href"]))[1]) == 4


async def test_small_domains_are_summed(reader, monkeypatch):
    monkeypatch.setattr(breakdown, "SHOWN_MAX", 1)
    rows = rows_of(await reader.get("/deliveries/DM7/domains"), "domains")
    assert rows["big.example"][0] == "50"
    assert rows["All others"][:3] == ["25", "11", "3"]


async def test_what_was_not_looked_through_is_said(reader, monkeypatch):
    page = await reader.get("/deliveries/DM7/domains")
    assert "75 messages, all that there are." in page.one(id="domains").text
    monkeypatch.setattr("processor.web.breakdowns.LOOKED_AT_MAX", 4)
    page = await reader.get("/deliveries/DM7/domains")
    assert "with the newest changes" in page.one(id="domains").text


async def test_partitions_that_cannot_be_asked_are_named(reader, world):
    world.recovering = (1,)
    page = await reader.get("/deliveries/DM7/domains")
    assert "Partitions 1 recover" in page.one(id="incomplete").text


# Exclusions


async def test_exclusions_have_their_rules_in_the_words_of_who_applied_them(reader):
    page = await reader.get("/deliveries/DM7/exclusions")
    rows = page.one(id="exclusions").one("table").rows()[1:]
    assert [row[1] for row in rows] == ["8", "6", "2", "3"]
    assert rows[0][0].startswith("Denylisted 8")
    assert "asked not to be written to" in rows[0][0]
    assert [row[0] for row in rows[1:3]] == ["Global opt-out", "List of u***@example.com"]
    for link in page.one(id="exclusions").all("a", class_="counted"):
        assert len((await listed(reader, link["href"]))[1]) == int(link.text)


async def test_a_delivery_without_exclusions_says_so(reader):
    page = await reader.get("/deliveries/SMS/exclusions")
    assert "No message was excluded." in page.one(id="exclusions").text


# Audit


async def test_the_audit_tells_what_was_done_and_told(reader):
    page = await reader.get("/deliveries/DM8/audit")
    rows = {name: value for _, name, value in page.one(id="audit").one("table").rows()[1:]}
    assert {"Started", "Paused", "Channel set"} <= rows.keys()
    assert (rows["Label set"], rows["Campaign set"], rows["Planned count set"]) == ("Spring", "spring", "12")
    assert "They name no person" in page.one(id="audit").text


async def test_a_delivery_that_nobody_controls_says_so(reader, world):
    world.tell_undelivered({"email": 2})
    page = await reader.get("/no-delivery/audit")
    assert "known from its messages alone" in page.one(id="audit").text


@pytest.mark.parametrize("tab", ["domains", "exclusions", "audit"])
async def test_an_unknown_delivery_has_no_tab(reader, tab):
    await reader.get(f"/deliveries/none-such/{tab}", 404)


async def test_a_place_that_is_too_long_is_refused(reader):
    await reader.get(f"/deliveries/DM7/domains?place={'x' * 1_001}", 400)
