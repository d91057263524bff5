"""The page over a small world, as an HTML parser reads it: what it shows, in both languages, and to whom."""

import re
from collections.abc import AsyncIterator
from urllib.parse import quote, urljoin, urlsplit

import pytest
from aiohttp.test_utils import TestClient, TestServer

from processor.domain.status import DEFINITIONS
from processor.settings import Settings
from processor.web.access import SESSION_COOKIE
from processor.web.problems import BROKER_AWAY, OWNER_AWAY, ProblemError, invalid
from tests.web.document import Element, parse
from tests.web.page_server import CLOSED, OPEN, Stream, application
from tests.web.world import (
    CANCELED,
    CONTRADICTED_MESSAGE,
    FAILED_MESSAGE,
    HELD,
    LATE_MESSAGE,
    ODD_ID,
    READ_TOKEN,
    SILENT,
    STUCK_MESSAGE,
    WRITE_TOKEN,
    World,
    recovering,
)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

PAGES = (
    "/",
    "/deliveries",
    "/deliveries?q=nothing-is-called-so",
    "/deliveries/DM1042",
    f"/deliveries/{HELD}",
    f"/deliveries/{CANCELED}",
    "/deliveries/DM1050",
    f"/deliveries/{HELD}/cancel",
    f"/messages/{FAILED_MESSAGE}",
    f"/messages/{STUCK_MESSAGE}",
    f"/messages/{CONTRADICTED_MESSAGE}",
    f"/messages/{quote(ODD_ID, safe='')}",
    "/statuses",
    "/messages/none-such",
    "/nothing/here",
)

SWEDISH_LABELS = [
    "Väntande",
    "Förberedd",
    "Skickat till tjänstleverantören",
    "Tjänsteleverantören har tagit hänsyn till",
    "Skickat",
    "Mottaget på mobilen",
    "Misslyckades",
    "Ignorerad",
    "Leveransen har avbrutits",
    "Ej tillämpligt",
]


class Reader:
    """Somebody with a browser."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    async def get(self, path: str, status: int = 200, **headers: str) -> Element:
        async with self.client.get(path, headers=headers, allow_redirects=False) as response:
            assert response.status == status, await response.text()
            return parse(await response.text())

    async def leads_to(self, path: str) -> str:
        async with self.client.get(path, allow_redirects=False) as response:
            assert response.status == 303
            return response.headers["Location"]

    async def send(self, path: str, status: int, headers=None, **form: str) -> Element | str:
        async with self.client.post(path, data=form, headers=headers, allow_redirects=False) as response:
            assert response.status == status, await response.text()
            return response.headers["Location"] if status == 303 else parse(await response.text())


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def reader(world) -> AsyncIterator[Reader]:
    async with TestClient(TestServer(application(world, Stream(), OPEN))) as client:
        yield Reader(client)


@pytest.fixture
async def stranger(world) -> AsyncIterator[Reader]:
    """Somebody who has to sign in."""
    async with TestClient(TestServer(application(world, Stream(), CLOSED))) as client:
        yield Reader(client)


def table_of(page: Element, identifier: str) -> list[list[str]]:
    return page.one(id=identifier).all("table")[0].rows()


# Every page


@pytest.mark.parametrize("language", ["en", "sv"])
@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_sound(reader, path, language):
    async with reader.client.get(path, headers={"Accept-Language": language}) as response:
        page = parse(await response.text())
    assert page["lang"] == language
    assert page.one("h1").text and page.one("main")["id"] == "main"
    assert page.one("head").one("title").children != [""]
    identifiers = [each["id"] for each in page if each.get("id")]
    labelled = {each.get("for") for each in page.all("label")}
    assert len(set(identifiers)) == len(identifiers)
    assert page.all("a", class_="skip")[0]["href"] == "#main"
    for each in page:
        assert not {"style", "onclick", "onload", "onerror"} & each.attributes.keys()
        if each.tag == "script":
            assert each["src"].startswith("/static/") and not each.children
        assert each.tag != "style"
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert set((each.get(name) or "").split()) <= set(identifiers), f"{name}={each.get(name)}"
        if each.tag in {"input", "select"} and each.get("type") != "hidden":
            assert each["id"] in labelled
        if each.tag == "use":
            assert each["href"].removeprefix("#") in identifiers
        if each.tag == "button":
            assert each.text
        if each.tag == "th":
            assert each.get("scope") in {"col", "row"}
    for drawing in page.all("svg"):
        assert drawing.get("aria-hidden") == "true" or drawing.get("aria-label"), "a drawing that says nothing"


@pytest.mark.parametrize("path", PAGES)
async def test_headings_leave_no_level_out(reader, path):
    async with reader.client.get(path) as response:
        page = parse(await response.text())
    levels = [int(each.tag[1]) for each in page if re.fullmatch("h[1-6]", each.tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


async def test_every_link_leads_somewhere(reader):
    seen, waiting = set(), {"/"}
    while waiting - seen:
        path = sorted(waiting - seen)[0]
        seen.add(path)
        async with reader.client.get(path) as response:
            assert response.status in {200, 404}, path
            if response.content_type != "text/html":
                continue
            page = parse(await response.text())
        identifiers = {each.get("id") for each in page}
        for link in page.all("a"):
            target = urljoin(path, link["href"])
            fragment = urlsplit(link["href"]).fragment
            if link["href"].startswith("#"):
                assert fragment in identifiers
            elif "lang=" not in target and "sort=" not in target and not target.startswith(("/api/", "/metrics")):
                waiting.add(target)
        if response.status == 404:
            # Evidence may name messages that the small world does not have.
            assert path.startswith("/messages/")
    assert len(seen) > 40


async def test_every_page_has_the_same_strict_headers(reader):
    for path in (*PAGES, "/login"):
        async with reader.client.get(path, allow_redirects=False) as response:
            if response.status == 303:
                continue
            assert response.headers["Content-Security-Policy"] == POLICY
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "same-origin"
            assert response.content_type == "text/html"


async def test_a_page_of_a_fault_says_no_more_than_that(reader, world):
    world.failure = RuntimeError("secret detail")
    async with reader.client.get("/") as response:
        assert response.status == 500
        assert "secret" not in await response.text()


# Languages


async def test_the_language_is_the_readers_choice_first(reader):
    assert (await reader.get("/"))["lang"] == "en"
    assert (await reader.get("/", **{"Accept-Language": "de, sv-FI;q=0.8, en;q=0.5"}))["lang"] == "sv"
    assert (await reader.get("/", **{"Accept-Language": "sv;q=0, en;q=0.1"}))["lang"] == "en"
    assert (await reader.get("/?lang=sv"))["lang"] == "sv"
    # It is remembered.
    assert (await reader.get("/deliveries", **{"Accept-Language": "en"}))["lang"] == "sv"
    assert (await reader.get("/deliveries?lang=en"))["lang"] == "en"
    assert (await reader.get("/deliveries?lang=xx"))["lang"] == "en"


async def test_the_other_language_is_the_same_page(reader):
    page = await reader.get("/deliveries?q=autumn&sort=label")
    link = page.one("a", hreflang="sv")
    other = await reader.get(link["href"])
    assert other["lang"] == "sv"
    assert other.one(id="f-q")["value"] == "autumn"


async def test_swedish_labels_are_to_the_letter(reader):
    page = await reader.get("/?lang=sv")
    assert [row[0] for row in table_of(page, "messages")[1:-1]] == SWEDISH_LABELS
    page = await reader.get("/statuses?lang=sv")
    assert [row[0] for row in page.all("table")[0].rows()[1:]] == SWEDISH_LABELS


# Overview


async def test_the_overview_counts_messages_by_status_and_channel(reader, world):
    rows = table_of(await reader.get("/"), "messages")
    view = await world.overview()
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
        "Deliveries that wait": "3",
        "Stuck messages": "403",
        "Silent providers": "1",
        "Contradictions": "15",
        "Dead letters": "65",
    }
    held = alarms["Deliveries that wait"].all("a")[0]
    assert (held.text, held["href"]) == ("1 held by the concurrency limit", "/deliveries?pending=concurrency_limit")
    assert "infobip" in page.one(id="silent").text
    assert page.one(id="contradictions").all("a")[0]["href"] == f"/messages/{CONTRADICTED_MESSAGE}"
    assert ["Not what the provider sends unreadable_payload", "41"] in page.one(id="dead_letters").one("table").rows()


async def test_the_overview_says_that_all_is_well(reader, world):
    world.is_well = True
    page = await reader.get("/")
    assert [each.classes for each in page.all("li", class_="alarm")] == [["alarm", "none"]] * 5
    assert not page.all(id="stuck") and not page.all(id="silent")
    assert "0 stuck messages" in page.one("p", data_summary="").text


async def test_the_overview_names_what_it_could_not_ask(reader, world):
    world.recovering = (3, 4, 6)
    page = await reader.get("/")
    assert "3\N{EN DASH}4, 6" in page.one(id="incomplete").text
    rows = table_of(page, "partitions")
    assert ["Fold", "delivery.events.v1", "http://10.0.0.12:8080", "4", "Recovering", "44"] in rows
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


async def test_the_form_asks_the_api_and_keeps_what_was_given(reader, world):
    page = await reader.get("/deliveries?q=autumn&channel=email&status=failed&state=running&stuck=true&active=24h&x=1")
    asked = world.asked[-1]
    assert "T" in asked.pop("since")
    assert asked == {
        "q": "autumn",
        "channel": "email",
        "status": "failed",
        "state": "running",
        "stuck": "true",
        "limit": "25",
    }
    assert page.one(id="f-q")["value"] == "autumn"
    assert page.one(id="f-status").one("option", selected="").text == "Failed"
    assert page.one(id="f-stuck").get("checked") is not None
    assert page.one("form", class_="filters").all("a")[0]["href"] == "/deliveries"


async def test_columns_sort_both_ways(reader, world):
    page = await reader.get("/deliveries?q=a")
    sorted_by = {each.text: each for each in page.one("table").all("th") if each.get("aria-sort")}
    assert {name: each["aria-sort"] for name, each in sorted_by.items()} == {"Last activity": "descending"}
    link = next(each for each in page.all("a", class_="sort") if each.text == "Failed")
    assert link["href"] == "/deliveries?q=a&sort=-failed"
    page = await reader.get(link["href"])
    assert world.asked[-1]["sort"] == "-failed"
    turned = next(each for each in page.all("a", class_="sort") if each.text == "Failed")
    assert turned["href"] == "/deliveries?q=a&sort=failed"


async def test_pages_follow_each_other(reader, world):
    page = await reader.get("/deliveries?sort=label")
    following = page.one("a", rel="next")["href"]
    assert following == "/deliveries?sort=label&cursor=25"
    page = await reader.get(following)
    assert len(page.one("table").all("tr")) == 1 + len(world.list) - 25
    assert not page.all("a", rel="next")
    assert page.one("nav", class_="turn").one("a")["href"] == "/deliveries?sort=label"


async def test_a_list_of_nothing_says_why(reader, world):
    assert "No delivery fits." in (await reader.get("/deliveries?q=xyz")).text
    world.list.clear()
    assert "No delivery is known yet." in (await reader.get("/deliveries")).text


async def test_a_wrong_filter_is_told(reader, world):
    world.failure = invalid("sort must be one of label")
    page = await reader.get("/deliveries?sort=nonsense", 400)
    assert "sort must be one of label" in page.text


# One delivery


@pytest.mark.parametrize(
    ("delivery", "english", "swedish"),
    [
        (
            HELD,
            "10 campaigns run, and at most 10 may run at once.",
            "10 kampanjer körs, och högst 10 får köras samtidigt",
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
    assert [each.classes for each in over_time.all("path", class_="area")][0] == ["area", "s-sent"]
    assert ["User unknown 1", "Failed", "402"] in table_of(page, "reasons")


async def test_a_delivery_without_messages_has_no_chart(reader):
    page = await reader.get("/deliveries/DM1050")
    assert "No change has been seen yet." in page.one(id="over-time").text
    assert page.one(id="facts").one("time")["datetime"]


async def test_a_canceled_delivery_says_so_and_cannot_be_canceled_again(reader):
    page = await reader.get(f"/deliveries/{CANCELED}")
    assert "6,120 messages were stopped; 821 had been sent or had ended before." in page.one(id="now").text
    assert not page.all("a", class_="danger")


async def test_a_stuck_delivery_says_so(reader):
    assert "312 messages are stuck." in (await reader.get(f"/deliveries/{SILENT}")).one(id="now").text


async def test_an_unknown_delivery_is_not_found(reader):
    page = await reader.get("/deliveries/none-such", 404)
    assert "No such delivery" in page.one("h1").text
    assert "none-such" in page.one("p", class_="lead").text


# Cancelling


async def test_a_cancel_needs_the_token_and_a_confirmation(reader, world):
    path = f"/deliveries/{HELD}/cancel"
    page = await reader.get(path)
    assert "4,200 messages can still be stopped" in page.text
    assert page.one(id="token")["type"] == "password"
    unsure = await reader.send(path, 400, token=WRITE_TOKEN)
    assert "Tick the box" in unsure.one(role="alert").text
    wrong = await reader.send(path, 403, token=READ_TOKEN, sure="yes")
    assert wrong.one(id="token")["aria-invalid"] == "true"
    assert world.canceled == []
    following = await reader.send(path, 303, token=WRITE_TOKEN, sure="yes")
    assert world.canceled == [HELD]
    page = await reader.get(following)
    assert "on its way" in page.one("div", role="status").text


async def test_no_page_but_ours_can_cancel(reader, world):
    path, form = f"/deliveries/{HELD}/cancel", {"token": WRITE_TOKEN, "sure": "yes"}
    for foreign in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        await reader.send(path, 403, foreign, **form)
    assert world.canceled == []
    own = f"http://{reader.client.host}:{reader.client.port}"
    await reader.send(path, 303, {"Origin": own, "Sec-Fetch-Site": "same-origin"}, **form)
    assert world.canceled == [HELD]


async def test_the_cookie_of_a_writer_is_not_enough_to_cancel(stranger, world):
    await stranger.send("/login", 303, token=WRITE_TOKEN, next="/")
    await stranger.send(f"/deliveries/{HELD}/cancel", 403, sure="yes", token="")
    assert world.canceled == []


# One message


async def test_a_failed_message_says_why(reader):
    page = await reader.get(f"/messages/{FAILED_MESSAGE}")
    now = page.one(id="now").text
    assert "Failed" in now and "User unknown. Failed for good." in now
    reason = page.one(id="reason")
    assert "550 5.1.1 <u***@example.com>: Recipient address rejected" in reason.one("blockquote").text
    assert "5.1.1" in [each.text for each in reason.all("code")]
    life = [each.all("strong")[0].text for each in page.one("ol", class_="life").all("li")]
    assert life == ["Pending", "Taken into account by the service provider", "Failed"]
    assert "Reported by kumomta" in page.one("ol", class_="life").text


async def test_what_was_refused_is_told_with_its_rule(reader):
    page = await reader.get(f"/messages/{CONTRADICTED_MESSAGE}")
    refused = page.one("li", class_="off")
    assert refused.all("strong")[0].text == "Sent"
    assert "It contradicts “Ignored”" in refused.text
    assert page.one("li", class_="now").all("strong")[0].text == "Ignored"


async def test_a_message_says_what_it_waits_for(reader):
    now = (await reader.get(f"/messages/{STUCK_MESSAGE}")).one(id="now").text
    assert "Waits for: The handset's receipt." in now and "Stuck." in now
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


# When nobody can tell


async def test_what_is_being_recovered_is_told_and_asked_again(reader, world):
    world.failure = recovering()
    for path in ("/", "/deliveries", f"/deliveries/{HELD}", f"/messages/{FAILED_MESSAGE}", f"/find?q={HELD}"):
        async with reader.client.get(path) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == response.headers["Refresh"] == "5"
            page = parse(await response.text())
        assert "partition 3 is being recovered here" in page.text
        assert page.one("p", role="status").text == "This page asks again in 5 s."
        assert page.one("a", class_="primary")["href"] == path


@pytest.mark.parametrize(("kind", "told"), [(BROKER_AWAY, "Kafka svarar inte."), (OWNER_AWAY, "svarar inte; en annan")])
async def test_why_is_told_in_the_readers_language(reader, world, kind, told):
    world.failure = ProblemError(kind, "detail")
    assert told in (await reader.get("/?lang=sv", 503)).text


# Who may


async def test_a_stranger_signs_in_first(stranger):
    where = "/deliveries?q=autumn"
    asked = await stranger.leads_to(where)
    assert asked == f"/login?next={quote(where, safe='')}"
    page = await stranger.get(asked)
    assert not page.all("nav", class_="pages")
    wrong = await stranger.send("/login", 403, token="nonsense", next=where)
    assert "not known" in wrong.one(role="alert").text
    async with stranger.client.post(
        "/login", data={"token": READ_TOKEN, "next": where}, allow_redirects=False
    ) as response:
        assert (response.status, response.headers["Location"]) == (303, where)
        cookie = response.cookies[SESSION_COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert READ_TOKEN not in cookie.value
    page = await stranger.get(where)
    assert "u***@example.com" in (await stranger.get(f"/messages/{FAILED_MESSAGE}")).one(id="facts").text
    assert await stranger.leads_to("/login?next=/statuses") == "/statuses"
    await stranger.send(page.one("form", class_="leave")["action"], 303)
    assert await stranger.leads_to(where) == asked


async def test_a_writer_sees_recipients_whole(stranger):
    await stranger.send("/login", 303, token=WRITE_TOKEN, next="/")
    facts = (await stranger.get(f"/messages/{FAILED_MESSAGE}")).one(id="facts")
    assert "ulrika.holm@example.com" in facts.text and "masked" not in facts.text


@pytest.mark.parametrize(
    "next_page",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "", "/a\r\nb: c"],
)
async def test_signing_in_leads_nowhere_else(stranger, next_page):
    assert await stranger.send("/login", 303, token=READ_TOKEN, next=next_page) == "/"


async def test_a_link_from_elsewhere_finds_the_cookie(stranger):
    """A SameSite=Strict cookie is not sent along with a link of another site; the page asking itself anew sends it."""
    async with stranger.client.get("/login?next=/statuses", headers={"Sec-Fetch-Site": "cross-site"}) as response:
        assert response.headers["Refresh"] == "0; url=/login?again&next=%2Fstatuses"
    async with stranger.client.get("/login?again&next=/statuses", headers={"Sec-Fetch-Site": "cross-site"}) as response:
        assert "Refresh" not in response.headers


async def test_by_another_name_than_localhost_nobody_reads(world):
    async with TestClient(TestServer(application(world, Stream(), Settings()))) as client:
        page = await Reader(client).get("/", 403, Host="rebound.example")
    assert "Not from here" in page.one("h1").text
    assert "DELIVERY_READ_TOKEN" in page.text


# Static files


async def test_static_files_are_named_after_their_content_and_kept_for_ever(reader):
    page = await reader.get("/")
    addresses = [page.one("script")["src"], *(link["href"] for link in page.all("link"))]
    for address in addresses:
        async with reader.client.get(address) as response:
            assert response.status == 200
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert len(await response.read()) > 300
            etag = response.headers["ETag"]
            assert etag.strip('"') in address
        async with reader.client.get(address, headers={"If-None-Match": etag}) as response:
            assert response.status == 304
        async with reader.client.get(address.replace(etag.strip('"'), "0" * 12)) as response:
            assert response.status == 404


async def test_a_plain_name_is_no_static_file(reader):
    for name in ("app.css", "../routes.py", "..%2Froutes.py"):
        async with reader.client.get(f"/static/{name}") as response:
            assert response.status == 404
