"""The page over a small world, as an HTML parser reads it: what it shows, in both languages, and to whom."""

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator
from urllib.parse import quote, urljoin, urlsplit

import pytest
from aiohttp.test_utils import TestClient, TestServer

from processor.settings import Settings
from processor.web.access import SESSION_COOKIE
from processor.web.problems import BROKER_AWAY, OWNER_AWAY, ProblemError
from tests.web.campaigns import CANCELED, HELD, PAUSED
from tests.web.document import Element, parse
from tests.web.page_reader import Reader
from tests.web.page_server import CLOSED, OPEN, Stream, application
from tests.web.world import (
    CONTRADICTED_MESSAGE,
    FAILED_MESSAGE,
    ODD_ID,
    READ_TOKEN,
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
    "/partitions",
    "/",
    "/deliveries",
    "/deliveries?q=nothing-is-called-so",
    "/deliveries/DM1042",
    f"/deliveries/{HELD}",
    f"/deliveries/{CANCELED}",
    "/deliveries/DM1050",
    f"/deliveries/{HELD}/cancel",
    f"/deliveries/{HELD}/pause",
    f"/deliveries/{HELD}/finish",
    f"/deliveries/{PAUSED}/resume",
    f"/deliveries/{PAUSED}",
    f"/messages/{FAILED_MESSAGE}",
    f"/messages/{STUCK_MESSAGE}",
    f"/messages/{CONTRADICTED_MESSAGE}",
    f"/messages/{quote(ODD_ID, safe='')}",
    "/messages",
    "/messages?status=failed&domain=nowhere.example",
    "/deliveries/DM1042/messages",
    "/deliveries/DM1042/messages?status=failed&category=user_unknown",
    "/deliveries/DM1050/messages",
    "/dead-letters",
    "/dead-letters?reason=too_old",
    "/dead-letters/0-1",
    "/dead-letters/0-3",
    "/dead-letters/0-9",
    "/deliveries/DM1042/domains",
    "/deliveries/DM1042/domains?place=example.com",
    "/deliveries/DM1042/exclusions",
    "/deliveries/DM1042/audit",
    "/audit",
    "/statuses",
    "/find?q=ulrika.holm@example.com",
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


# Every page


LANGUAGES = ("en", "sv")


@pytest.fixture(scope="module")
def pages() -> dict[tuple[str, str], Element]:
    """Give every page in both languages, of one world."""

    async def read() -> dict[tuple[str, str], Element]:
        async with TestClient(TestServer(application(World(), Stream(), OPEN))) as client:
            found = {}
            for path, language in itertools.product(PAGES, LANGUAGES):
                async with client.get(path, headers={"Accept-Language": language}) as response:
                    found[path, language] = parse(await response.text())
            return found

    return asyncio.run(read())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_sound(pages, path, language):
    page = pages[path, language]
    assert page["lang"] == language
    assert page.one("h1").text
    assert page.one("main")["id"] == "main"
    assert page.one("head").one("title").children != [""]
    identifiers = [each["id"] for each in page if each.get("id")]
    labelled = {each.get("for") for each in page.all("label")}
    assert len(set(identifiers)) == len(identifiers)
    assert page.all("a", class_="skip")[0]["href"] == "#main"
    for each in page:
        assert not {"style", "onclick", "onload", "onerror"} & each.attributes.keys()
        if each.tag == "script":
            assert each["src"].startswith("/static/")
            assert not each.children
        assert each.tag != "style"
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert set((each.get(name) or "").split()) <= set(identifiers), f"{name}={each.get(name)}"
        if each.tag in {"input", "select"} and each.get("type") != "hidden" and "hidden" not in each.attributes:
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
def test_headings_leave_no_level_out(pages, path):
    levels = [int(each.tag[1]) for each in pages[path, "en"] if re.fullmatch("h[1-6]", each.tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


#: Links that are followed of those that differ in the values of their query alone: there are thousands.
LINKS_OF_A_KIND = 4


async def test_every_link_leads_somewhere(reader):
    seen, waiting, followed = set(), {"/"}, Counter()
    while waiting - seen:
        path = min(waiting - seen)
        seen.add(path)
        kind = re.sub("=[^&]*", "", path)
        followed[kind] += 1
        if followed[kind] > LINKS_OF_A_KIND:
            continue
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
            assert path.startswith(("/messages/", "/no-delivery"))
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
    assert [row[0] for row in page.one(id="messages").one("table").rows()[1:-1]] == SWEDISH_LABELS
    page = await reader.get("/statuses?lang=sv")
    assert [row[0] for row in page.all("table")[0].rows()[1:]] == SWEDISH_LABELS


# Acting on a delivery


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


@pytest.mark.parametrize(
    ("delivery", "action", "form", "told"),
    [
        (HELD, "pause", {}, "4,200 messages have not been handed over"),
        (PAUSED, "resume", {}, "1,400 messages have not been handed over"),
        (PAUSED, "finish", {"sure": "yes"}, "to stop them, cancel the delivery"),
    ],
)
async def test_a_delivery_is_paused_resumed_and_finished_with_the_token(reader, world, delivery, action, form, told):
    path = f"/deliveries/{delivery}/{action}"
    assert path in [link["href"] for link in (await reader.get(f"/deliveries/{delivery}")).one(id="head").all("a")]
    assert told in (await reader.get(path)).text
    await reader.send(path, 403, token=READ_TOKEN, **form)
    assert world.steered == []
    following = await reader.send(path, 303, token=WRITE_TOKEN, **form)
    assert world.steered == [(delivery, action)]
    assert "on its way" in (await reader.get(following)).one("div", role="status").text


async def test_what_is_final_needs_a_confirmation(reader, world):
    unsure = await reader.send(f"/deliveries/{HELD}/finish", 400, token=WRITE_TOKEN)
    assert "Tick the box" in unsure.one(role="alert").text
    assert world.steered == []


async def test_what_would_have_no_effect_is_refused_and_not_offered(reader, world):
    for delivery, action, why in (
        (PAUSED, "pause", "paused already"),
        (HELD, "resume", "is not paused"),
        (CANCELED, "finish", "has been canceled"),
    ):
        path = f"/deliveries/{delivery}/{action}"
        page = await reader.get(path)
        assert why in page.one(role="alert").text
        assert not page.all("form", method="post")
        assert why in (await reader.send(path, 409, token=WRITE_TOKEN, sure="yes")).one(role="alert").text
        links = (await reader.get(f"/deliveries/{delivery}")).one(id="head").all("a")
        assert path not in [link["href"] for link in links]
    assert world.steered == []


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
    assert "ulrika.holm@example.com" in facts.text
    assert "masked" not in facts.text


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
