"""What the page tells of the whole, of deliveries and of messages, over a small world."""

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient, TestServer

from processor.domain.status import DEFINITIONS
from processor.web.page.texts import PROBLEMS
from processor.web.problems import ProblemError
from tests.web.campaigns import CANCELED, HELD, PAUSED, SILENT
from tests.web.document import Element
from tests.web.page_reader import Reader
from tests.web.page_server import Stream, application
from tests.web.world import CONTRADICTED_MESSAGE, FAILED_MESSAGE, LATE_MESSAGE, ODD_ID, STUCK_MESSAGE, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def reader(world) -> AsyncIterator[Reader]:
    async with TestClient(TestServer(application(world, Stream()))) as client:
        yield Reader(client)


NOTHING = "\N{EN DASH}"


def table_of(page: Element, identifier: str) -> list[list[str]]:
    return page.one(id=identifier).all("table")[0].rows()


# Overview


async def test_the_overview_counts_messages_by_status_and_channel(reader, world):
    rows = table_of(await reader.get("/"), "messages")
    view = await world.answers.overview()
    for row, (status, definition) in zip(rows[1:-1], DEFINITIONS.items(), strict=True):
        numbers = [counts.get(status) for counts in view.messages.values()]
        assert row[0] == definition.english
        shown = [cell for cell in row[1:] if cell]
        assert shown[-1] == f"{sum(filter(None, numbers)):,}"
        for cell, number in zip(shown, numbers, strict=False):
            assert cell == (f"{number:,}" if number is not None else "·not on this channel")
    assert rows[-1][-1] == f"{sum(sum(counts.values()) for counts in view.messages.values()):,}"


async def test_the_overview_says_what_is_wrong(reader):
    page = await reader.get("/")
    alarms = {each.one("h3").text: each for each in page.all("li", class_="alarm")}
    assert {name: each.one("p", class_="figure").text for name, each in alarms.items()} == {
        "Unusual failures": "1,000",
        "Deliveries that wait": "4",
        "Stuck messages": "403",
        "Silent providers": "1",
        "Contradictions": "15",
        "Dead letters": "3",
    }
    every, held = alarms["Deliveries that wait"].all("a")[:2]
    assert every["href"] == "/deliveries?pending=any"
    assert (held.text, held["href"]) == ("1 held by the concurrency limit", "/deliveries?pending=concurrency_limit")
    assert "kumomta: 75.0% fail" in alarms["Unusual failures"].text
    assert "infobip, for 52 min" in alarms["Silent providers"].text
    assert "infobip" in page.one(id="silent").text
    assert f"/messages/{STUCK_MESSAGE}" in [each["href"] for each in page.one(id="stuck").all("a")]
    assert f"/messages/{CONTRADICTED_MESSAGE}" in [each["href"] for each in page.one(id="contradictions").all("a")]
    assert ["Not JSON invalid_json", "1"] in page.one(id="dead_letters").one("table").rows()


async def test_dead_letters_that_wait_could_not_be_counted(reader, world):
    world.letters.failure = OSError("no route to host")
    page = await reader.get("/")
    assert "Since the workers started" in page.one(id="dead_letters").text
    assert ["Not what the provider sends unreadable_payload", "41"] in page.one(id="dead_letters").one("table").rows()
    # Once they were, that stands, whatever Kafka does.
    world.letters.failure = None
    assert ["Not JSON invalid_json", "1"] in (await reader.get("/")).one(id="dead_letters").one("table").rows()


async def test_numbers_of_what_is_wrong_lead_to_the_messages(reader):
    page = await reader.get("/")
    [unanswered] = [each["href"] for each in page.one(id="silent").all("a", class_="counted")]
    assert unanswered.startswith("/messages?provider=infobip&unanswered=true&since=20")
    assert "Handed over, and not answered." in (await reader.get(unanswered)).text
    rejected = [each["href"] for each in page.one(id="contradictions").all("a", class_="counted")]
    assert all("rejected=" in each and "status=" in each for each in rejected)
    for each in rejected:
        assert "With a rejected report of:" in (await reader.get(each)).text
    assert CONTRADICTED_MESSAGE in "".join([(await reader.get(each)).text for each in rejected])


async def test_the_overview_leads_with_what_fails_more_than_is_usual(reader):
    page = await reader.get("/")
    assert page.all("li", class_="alarm")[0].one("h3").text == "Unusual failures"
    assert table_of(page, "fails")[1:] == [
        ["kumomta storm", "E-mail", "75.0%", "25.0%", "2.0%", "1,000", "90", "880", NOTHING],
        [
            "DM1048 storm",
            "E-mail",
            "84.3%",
            "71.1%",
            NOTHING,
            "640",
            "40",
            "590",
            "gmail.example 500, a.example 3, b.example 2",
        ],
    ]
    links = [each["href"] for each in page.one(id="fails").all("a")]
    numbers = [each for each in links if "/messages?" in each]
    assert "/deliveries/DM1048/messages?channel=email&changed=1h&status=failed&domain=gmail.example" in numbers
    assert [each for each in links if each not in numbers] == ["/deliveries?provider=kumomta", "/deliveries/DM1048"]


async def test_the_overview_says_that_all_is_well():
    done = [campaign for campaign in World().campaigns.values() if "finish" in campaign.actions]
    async with TestClient(TestServer(application(World(campaigns=done, is_well=True), Stream()))) as client:
        page = await Reader(client).get("/")
    assert [each.classes for each in page.all("li", class_="alarm")] == [["alarm", "none"]] * 6
    assert not page.one(id="fails").all("table")
    assert [each.all("li") for each in page.all("li", class_="alarm")] == [[]] * 6, "of nothing nothing is said"
    assert not page.all(id="stuck")
    assert not page.all(id="silent")
    assert "0 stuck messages" in page.one("p", data_summary="").text


async def test_the_overview_shows_what_became_of_providers_calls(reader):
    section = (await reader.get("/")).one(id="gateways")
    assert [each.text for each in section.one("ul").all("li")] == [
        "http://10.0.0.21:8082 nothing waits on its disk",
        "http://10.0.0.22:8082 97 records wait on its disk, the oldest for 2 h 30 min",
        "http://10.0.0.23:8082 does not answer",
    ]
    rows = {provider: cells for provider, *cells in section.one("table").rows()[1:]}
    assert [*rows] == ["infobip", "sendgrid", "twilio main"]
    assert rows["sendgrid"][2] == "36,408"
    assert rows["infobip"][1] == "Silent"
    assert rows["twilio main"][2:7] == ["18,622", "212", "0", "0", "3"]
    assert "changed <b>on its way</b>" in rows["twilio main"][7]


async def test_the_overview_without_gateways_says_nothing_of_them(reader, world):
    world.gateways = {}
    assert not (await reader.get("/")).all(id="gateways")


async def test_gateways_are_shown_in_swedish(reader):
    section = (await reader.get("/?lang=sv")).one(id="gateways")
    assert "svarar inte" in section.text
    assert "97 poster väntar på dess disk" in section.text


async def test_the_overview_names_what_it_could_not_ask(reader, world):
    world.recovering = (3, 4, 6)
    page = await reader.get("/")
    assert "3\N{EN DASH}4, 6" in page.one(id="incomplete").text
    assert "29 of 32 partitions run" in page.one(id="partitions").text
    assert not page.one(id="partitions").all("table"), "that is for engineers, on a page of its own"
    page = await reader.get(page.one(id="partitions").one("a")["href"])
    assert "3\N{EN DASH}4, 6" in page.one(id="incomplete").text
    rows = table_of(page, "partitions")
    assert ["Fold", "delivery.events.v1", "http://10.0.0.12:8080", "4", "Recovering", "44"] in rows
    assert ["Fold", "delivery.events.v1", "http://10.0.0.11:8080", "3, 6", "Recovering", "89"] in rows
    assert "29 of 32 partitions run" in page.one(id="partitions").text


# Deliveries


async def test_deliveries_show_progress_and_why_they_wait(reader):
    page = await reader.get("/deliveries")
    rows = {row.all("a")[0].text: row for row in page.one("table").all("tr")[1:]}
    held = rows["Autumn sale, reminder"]
    assert "held by the concurrency limit" in held.text
    assert held.one("svg", class_="bar")["aria-label"] == "Messages by status: Pending 100%"
    assert rows["Appointment reminders"].one("span", class_="badge").text == "312"
    first = rows["Autumn sale, first wave"].one("svg", class_="bar")
    assert "Sent 75.5%" in first["aria-label"]
    drawn = sum(float(part["width"].rstrip("%")) for part in first.all("rect"))
    assert drawn == pytest.approx(100 * 22_400 / 25_000, abs=0.1)


@pytest.mark.parametrize(
    ("cause", "waiting"), [("any", 4), ("concurrency_limit", 1), ("scheduled", 1), ("mta_resources", 2)]
)
async def test_deliveries_are_found_by_why_they_wait(reader, cause, waiting):
    page = await reader.get(f"/deliveries?pending={cause}")
    assert len(page.one("table").all("tr")) == 1 + waiting
    assert page.one(id="f-pending").one("option", selected="")["value"] == cause


async def test_the_form_asks_the_api_and_keeps_what_was_given(reader):
    page = await reader.get("/deliveries?q=appoint&channel=sms&status=failed&state=running&stuck=true&active=24h&x=1")
    assert [each.one("a").text for each in page.one("table").all("th", scope="row")] == ["Appointment reminders"]
    assert page.one(id="f-q")["value"] == "appoint"
    assert page.one(id="f-status").one("option", selected="").text == "Failed"
    assert page.one(id="f-stuck").get("checked") is not None
    assert page.one("form", class_="filters").all("a")[0]["href"] == "/deliveries"


async def test_columns_sort_both_ways(reader):
    page = await reader.get("/deliveries?q=a")
    sorted_by = {each.text: each for each in page.one("table").all("th") if each.get("aria-sort")}
    assert {name: each["aria-sort"] for name, each in sorted_by.items()} == {"Last activity": "descending"}
    link = next(each for each in page.all("a", class_="sort") if each.text == "Failed")
    assert link["href"] == "/deliveries?q=a&sort=-failed"
    page = await reader.get(link["href"])
    assert page.one("table").all("tr")[1].all("a")[0].text == "Autumn sale, first wave"
    turned = next(each for each in page.all("a", class_="sort") if each.text == "Failed")
    assert turned["href"] == "/deliveries?q=a&sort=failed"


async def test_pages_follow_each_other(reader, world):
    page = await reader.get("/deliveries?sort=label")
    following = page.one("a", rel="next")["href"]
    assert following.startswith("/deliveries?sort=label&cursor=")
    page = await reader.get(following)
    assert len(page.one("table").all("tr")) == 1 + len(world.campaigns) - 25
    assert not page.all("a", rel="next")
    assert page.one("nav", class_="turn").one("a")["href"] == "/deliveries?sort=label"


async def test_a_list_of_nothing_says_why(reader):
    assert "No delivery fits." in (await reader.get("/deliveries?q=xyz")).text
    async with TestClient(TestServer(application(World(campaigns=()), Stream()))) as client:
        assert "No delivery is known yet." in (await Reader(client).get("/deliveries")).text


async def test_a_wrong_filter_is_told(reader):
    page = await reader.get("/deliveries?sort=nonsense", 400)
    assert "sort must be one of delivery_id" in page.text


# One delivery


@pytest.mark.parametrize(
    ("delivery", "english", "swedish"),
    [
        (
            HELD,
            "4 campaigns run, and at most 4 may run at once.",
            "4 kampanjer körs, och högst 4 får köras samtidigt",
        ),
        ("DM1050", "Pending: waits for its date.", "Väntande: inväntar sitt datum."),
        ("DM1048", "Pending: waits for the MTA.", "Väntande: inväntar MTA."),
    ],
)
async def test_a_delivery_says_why_it_is_pending(reader, delivery, english, swedish):
    assert english in (await reader.get(f"/deliveries/{delivery}")).one(id="now").text
    assert swedish in (await reader.get(f"/deliveries/{delivery}?lang=sv")).one(id="now").text


async def test_a_delivery_has_a_table_beside_each_chart(reader, world):
    page = await reader.get("/deliveries/DM1042")
    assert ["Sent", "16,902", "75.5%"] in table_of(page, "statuses")
    over_time = page.one(id="over-time")
    rows = over_time.one("table").rows()
    assert rows[0] == ["Time", "Sent", "Taken into account by the service provider", "Pending", "Ignored", "Failed"]
    assert rows[-1][1:] == ["16,902", "1,480", "3,120", "287", "611"]
    assert next(each.classes for each in over_time.all("path", class_="area")) == ["area", "s-sent"]
    assert ["User unknown 1", "Failed", "402"] in table_of(page, "reasons")


async def test_a_delivery_without_messages_has_no_chart(reader):
    page = await reader.get("/deliveries/DM1050")
    assert "Nothing changed in this time." in page.one(id="over-time").text
    assert all(time["datetime"] for time in page.one(id="facts").all("time"))


async def test_a_canceled_delivery_says_so_and_cannot_be_canceled_again(reader):
    page = await reader.get(f"/deliveries/{CANCELED}")
    assert "6,120 messages were stopped; 821 had been sent or had ended before." in page.one(id="now").text
    assert not page.all("a", class_="danger")


async def test_a_paused_delivery_says_so(reader):
    assert "What was not handed over waits" in (await reader.get(f"/deliveries/{PAUSED}")).one(id="now").text
    assert (
        "räknas inte till det som har fastnat" in (await reader.get(f"/deliveries/{PAUSED}?lang=sv")).one(id="now").text
    )


async def test_messages_of_no_delivery_can_be_opened_and_show_all_their_channels(reader, world):
    assert "“”" not in (await reader.get("/no-delivery", status=404)).text
    world.tell_undelivered({"email": 30, "sms": 12})
    [link] = [each for each in (await reader.get("/deliveries")).all("a") if each.text == "No delivery named"]
    page = await reader.get(link["href"])
    assert page.one("h1").text == "No delivery named"
    facts = page.one(id="head").text
    assert "E-mail" in facts
    assert "SMS" in facts
    assert ["Received on mobile", "0", "0%"] in table_of(page, "statuses"), "a status of one of its channels"
    assert not page.all("a", class_="danger"), "there is nothing to cancel"


async def test_the_note_of_a_cancel_goes_when_it_has_been_carried_out(reader):
    on_its_way = await reader.get(f"/deliveries/{HELD}?done=cancel")
    assert "The cancel is on its way." in on_its_way.one(id="done").text
    done = (await reader.get(f"/deliveries/{CANCELED}?done=cancel")).one(id="done")
    assert (done.text, "data-region" in done.attributes) == ("", True), "a renewal replaces it"


async def test_a_delivery_shows_the_activity_that_it_is_sorted_by(reader):
    """One that was only scheduled has no messages; an empty cell above the others looks like a mistake."""
    rows = (await reader.get("/deliveries")).one("table", class_="list").all("tr")[1:]
    times = [each.all("td")[-1].one("time")["datetime"] for each in rows]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("language", ["en", "sv"])
async def test_a_problem_is_told_in_the_readers_language(reader, world, language):
    for kind, text in PROBLEMS.items():
        world.failure = ProblemError(kind, "a detail for engineers")
        page = await reader.get(f"/?lang={language}", status=kind.status)
        assert (kind.title if language == "en" else text) in page.text
        assert page.one("code")["lang"] == "en"


async def test_a_stuck_delivery_says_so(reader):
    assert "312 messages are stuck." in (await reader.get(f"/deliveries/{SILENT}")).one(id="now").text


async def test_an_unknown_delivery_is_not_found(reader):
    page = await reader.get("/deliveries/none-such", 404)
    assert "No such delivery" in page.one("h1").text
    assert "none-such" in page.one("p", class_="lead").text


# One message


async def test_a_failed_message_says_why(reader):
    page = await reader.get(f"/messages/{FAILED_MESSAGE}")
    now = page.one(id="now").text
    assert "Failed" in now
    assert "User unknown. Failed for good." in now
    reason = page.one(id="reason")
    assert "550 5.1.1 <u***@example.com>: Recipient address rejected" in reason.one("blockquote").text
    assert "5.1.1" in [each.text for each in reason.all("code")]
    life = [each.all("strong")[0].text for each in page.one("ol", class_="life").all("li")]
    assert life == ["Pending", "Taken into account by the service provider", "Failed"]
    assert "Reported by kumomta" in page.one("ol", class_="life").text


async def test_what_was_rejected_is_told_with_its_rule(reader):
    page = await reader.get(f"/messages/{CONTRADICTED_MESSAGE}")
    rejected = page.one("li", class_="off")
    assert rejected.all("strong")[0].text == "Sent"
    assert "It contradicts “Ignored”" in rejected.text
    assert page.one("li", class_="now").all("strong")[0].text == "Ignored"


async def test_a_message_says_what_it_waits_for(reader):
    now = (await reader.get(f"/messages/{STUCK_MESSAGE}")).one(id="now").text
    assert "Waits for: The handset's receipt." in now
    assert "Stuck." in now
    now = (await reader.get(f"/messages/{STUCK_MESSAGE}?lang=sv")).one(id="now").text
    assert "Väntar på: Mobilens kvitto." in now


async def test_a_cancel_that_came_too_late_is_told(reader):
    assert "The cancel came too late." in (await reader.get(f"/messages/{LATE_MESSAGE}")).one(id="now").text


async def test_an_id_may_hold_anything(reader):
    page = await reader.get(f"/messages/{quote(ODD_ID, safe='')}")
    assert page.one("h1").text == ODD_ID
    assert "<script>alert(1)</script>" in page.one("blockquote").text
    assert [each.text for each in page.all("span", class_="badge")] == [
        "attempt 1",
        "attempt 1",
        "attempt 2",
        "now",
        "attempt 2",
    ]
    assert await reader.leads_to(f"/find?q={quote(ODD_ID, safe='')}") == f"/messages/{quote(ODD_ID, safe='')}"


async def test_times_are_exact_for_machines_and_in_utc_for_people(reader, world):
    page = await reader.get(f"/messages/{FAILED_MESSAGE}")
    for time in page.all("time"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time["datetime"])
        assert time["title"] == time["datetime"].replace("T", " ").replace("Z", " UTC")
        assert time.text == f"{time['datetime'][:19].replace('T', ' ')} UTC"


async def test_finding_leads_to_what_there_is(reader):
    assert await reader.leads_to(f"/find?q=+{FAILED_MESSAGE}+") == f"/messages/{FAILED_MESSAGE}"
    assert await reader.leads_to(f"/find?q={HELD}") == f"/deliveries/{HELD}"
    assert await reader.leads_to("/find?q=autumn%20sale") == "/deliveries?q=autumn%20sale"
    assert await reader.leads_to("/find?q=") == "/deliveries"
    # By the provider's id, and by the whole number, however it is written.
    assert await reader.leads_to("/find?q=1d98076abf1c11ee9d3b00163e2b2f6c") == f"/messages/{FAILED_MESSAGE}"
    assert await reader.leads_to("/find?q=0046%2070-123%2045%2012") == f"/messages/{STUCK_MESSAGE}"


async def test_a_recipient_of_several_messages_leads_to_a_list_of_them(reader):
    page = await reader.get("/find?q=Ulrika.Holm@example.com")
    assert page.one("h1").text == "Found by “Ulrika.Holm@example.com”"
    found = {row[1]: row[2] for row in page.one(id="found").rows()[1:]}
    assert found == dict.fromkeys((FAILED_MESSAGE, CONTRADICTED_MESSAGE, LATE_MESSAGE), "the recipient")
    links = {link["href"] for link in page.one(id="found").all("a")}
    assert links == {f"/messages/{each}" for each in found}


async def test_what_is_not_found_while_partitions_recover_is_not_called_unknown(reader, world):
    world.recovering = tuple(range(8))
    page = await reader.get("/find?q=ulrika.holm@example.com")
    assert "Incomplete." in page.one(id="incomplete").text
    assert "Nothing was found." in page.text
