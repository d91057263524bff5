"""The page in a real browser: it loads clean, is live, works without scripts, by keyboard, and for everybody."""

import asyncio
import re
from datetime import datetime
from ipaddress import ip_network
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from processor.domain.status import Channel
from processor.settings import Settings
from processor.users import Role
from processor.web.problems import STARTING, ProblemError
from tests.browser.visiting import served, visiting
from tests.web.campaigns import HELD, PAUSED, Campaign
from tests.web.page_server import CLOSED, OPEN
from tests.web.world import CONTRADICTED_MESSAGE, FAILED_MESSAGE, ODD_ID, READ_TOKEN, STUCK_MESSAGE, WRITE_TOKEN

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

PAGES = {
    "overview": "/",
    "deliveries": "/deliveries",
    "partitions": "/partitions",
    "nothing": "/deliveries?q=nothing-is-called-so",
    "delivery": "/deliveries/DM1042",
    "held": f"/deliveries/{HELD}",
    "canceled": "/deliveries/DM1036",
    "cancel": f"/deliveries/{HELD}/cancel",
    "paused": f"/deliveries/{PAUSED}",
    "resume": f"/deliveries/{PAUSED}/resume",
    "failed": f"/messages/{FAILED_MESSAGE}",
    "stuck": f"/messages/{STUCK_MESSAGE}",
    "rejected": f"/messages/{CONTRADICTED_MESSAGE}",
    "odd": f"/messages/{quote(ODD_ID, safe='')}",
    "messages": "/messages",
    "dead-letters": "/dead-letters",
    "dead-letter": "/dead-letters/0-1",
    "dead-letter-cut": "/dead-letters/0-3",
    "of-delivery": "/deliveries/DM1042/messages?status=failed",
    "domains": "/deliveries/DM1042/domains",
    "reasons-of-domain": "/deliveries/DM1042/domains?place=example.com",
    "exclusions": "/deliveries/DM1042/exclusions",
    "audit": "/deliveries/DM1042/audit",
    "none-fits": "/deliveries/DM1050/messages?status=failed",
    "found": "/find?q=ulrika.holm@example.com",
    "statuses": "/statuses",
    "login": "/login",
}

#: Renewals are seconds apart.
SOON = 15_000


async def accessibility_findings(page) -> list[str]:
    """Give what axe-core finds, however small."""
    found = await Axe().run(page)
    return [
        f"{each['impact']}: {each['id']}: {node['target']} {node['failureSummary']}"
        for each in found.response["violations"]
        for node in each["nodes"]
    ]


# It loads


@pytest.mark.parametrize(("scheme", "locale"), [("light", "en-GB"), ("dark", "sv-SE")])
@pytest.mark.parametrize("name", PAGES)
async def test_a_page_loads_clean_and_is_accessible(browser, name, scheme, locale):
    async with (
        served(CLOSED if name == "login" else OPEN) as site,
        visiting(browser, site, color_scheme=scheme, locale=locale) as tab,
    ):
        page = await tab.open(PAGES[name])
        assert await page.locator("html").get_attribute("lang") == locale[:2]
        assert await accessibility_findings(page) == []
        assert tab.faults == []


@pytest.mark.parametrize("width", [360, 768, 1280])
async def test_no_page_is_wider_than_its_window(browser, site, width):
    for locale in ("en-GB", "sv-SE"):
        async with visiting(browser, site, locale=locale, viewport={"width": width, "height": 800}) as tab:
            for path in PAGES.values():
                page = await tab.open(path)
                assert await page.evaluate("document.documentElement.scrollWidth") <= width, (path, locale)


async def test_a_long_name_does_not_widen_a_phones_page(browser, site):
    name = "DM" + "0123456789" * 30
    site.world.tell(Campaign(name, Channel.EMAIL, ("start",), statuses={"pending": 3}))
    async with visiting(browser, site, viewport={"width": 375, "height": 740}) as tab:
        for path in (f"/deliveries/{name}", f"/deliveries/{name}/cancel", "/deliveries"):
            page = await tab.open(path)
            assert await page.evaluate("document.documentElement.scrollWidth") <= 375, path


async def test_a_phone_gets_accessible_pages_too(browser, site):
    async with visiting(browser, site, viewport={"width": 360, "height": 740}, has_touch=True) as tab:
        for name in ("overview", "deliveries", "delivery", "statuses"):
            assert await accessibility_findings(await tab.open(PAGES[name])) == []


async def test_errors_are_accessible_pages(browser, site):
    async with visiting(browser, site) as tab:
        assert await accessibility_findings(await tab.open("/messages/none-such")) == []
        site.world.failure = ProblemError(STARTING, "this worker has not reached Kafka yet")
        assert await accessibility_findings(await tab.open("/")) == []


async def test_the_language_is_one_click_away(tab):
    page = await tab.open("/statuses")
    await page.get_by_role("link", name="Svenska").click()
    await expect(page.locator("html")).to_have_attribute("lang", "sv")
    await expect(page.get_by_role("rowheader", name="Leveransen har avbrutits").first).to_be_visible()
    await page.get_by_role("link", name="Översikt").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Översikt")


async def test_times_are_the_readers_own(tab):
    page = await tab.open(PAGES["failed"])
    for time in await page.locator("time").all():
        exact = datetime.fromisoformat((await time.get_attribute("datetime")).replace("Z", "+00:00"))
        local = exact.astimezone(ZoneInfo("Europe/Stockholm"))
        assert await time.inner_text() == f"{local:%Y-%m-%d %H:%M:%S}"
        assert await time.get_attribute("title") == f"{exact:%Y-%m-%d %H:%M:%S}.{exact.microsecond // 1000:03d} UTC"


async def test_a_reader_may_choose_a_zone_and_it_is_remembered(tab):
    page = await tab.open(PAGES["failed"])
    await page.get_by_label("Times in").select_option("UTC")
    for path in (PAGES["failed"], PAGES["delivery"]):
        page = await tab.open(path)
        for time in await page.locator("time:not([data-short])").all():
            assert (await time.get_attribute("title")).startswith(await time.inner_text())
        assert await page.get_by_label("Times in").input_value() == "UTC"
    await expect(page.locator("[data-zone-name]").first).to_have_text("UTC")


async def test_a_button_copies_an_id(browser, site):
    async with visiting(browser, site, permissions=["clipboard-read", "clipboard-write"]) as tab:
        page = await tab.open(PAGES["of-delivery"])
        await page.get_by_role("button", name=f"Copy: {FAILED_MESSAGE}").click()
        await expect(page.get_by_text("Copied", exact=True)).to_be_visible()
        assert await page.evaluate("navigator.clipboard.readText()") == FAILED_MESSAGE
        assert tab.faults == []


async def test_an_id_can_be_copied_where_the_browser_has_no_clipboard(browser, site):
    async with visiting(browser, site, permissions=["clipboard-read", "clipboard-write"]) as tab:
        await tab.page.add_init_script(
            "window.kept = navigator.clipboard; Object.defineProperty(navigator, 'clipboard', { value: undefined });"
        )
        page = await tab.open(PAGES["delivery"])
        await page.get_by_role("button", name="Copy: DM1042").click()
        await expect(page.get_by_text("Copied", exact=True)).to_be_visible()
        assert await page.evaluate("window.kept.readText()") == "DM1042"


# It is live


async def test_it_renews_what_changed_when_the_workers_tell(tab):
    page, site = await tab.open("/"), tab.site
    failed = page.locator("#messages tr", has=page.get_by_role("rowheader", name="Failed")).locator("td").first
    await expect(failed).to_have_text("1,316")
    await expect(page.locator("[data-live-state]")).to_have_attribute("data-mode", "live")
    await page.evaluate("window.isSamePage = true")
    site.world.move("DM1042", "pending", "failed", 100)
    site.stream.tell()
    await expect(failed).to_have_text("1,416", timeout=SOON)
    assert await page.evaluate("window.isSamePage")


async def test_a_problem_appears_and_goes_without_a_reload(tab):
    tab.site.world.is_well = True
    page = await tab.open("/")
    await expect(page.locator("#silent")).to_have_count(0)
    await expect(page.locator("[data-live-state]")).to_have_attribute("data-mode", "live")
    tab.site.world.is_well = False
    tab.site.stream.tell()
    await expect(page.locator("#silent")).to_contain_text("infobip", timeout=SOON)
    tab.site.world.is_well = True
    tab.site.stream.tell()
    await expect(page.locator("#silent")).to_have_count(0, timeout=SOON)


async def test_without_a_stream_it_asks_by_itself(browser, site):
    site.stream.is_refused = True
    async with visiting(browser, site) as tab:
        page = await tab.open(PAGES["delivery"])
        site.world.move("DM1042", "pending", "sent", 20)
        await expect(page.locator("#statuses")).to_contain_text("16,922", timeout=SOON)
        await expect(page.locator("[data-live-state]")).to_have_attribute("data-mode", "poll")


async def test_it_says_when_nobody_answers_and_recovers(browser, site):
    async with visiting(browser, site) as tab:
        page = await tab.open("/")
        state = page.locator("[data-live-state]")
        await expect(state).to_have_attribute("data-mode", "live")
        site.world.failure = ProblemError(STARTING, "not yet")
        site.stream.tell()
        await expect(state).to_contain_text("No contact, trying again", timeout=SOON)
        # What was known stays.
        await expect(page.locator("#messages")).to_contain_text("Taken into account")
        site.world.failure = None
        await expect(state).to_have_attribute("data-mode", "live", timeout=SOON)


async def test_a_reader_may_stop_it(tab):
    page, site = await tab.open(PAGES["delivery"]), tab.site
    state = page.locator("[data-live-state]")
    await expect(state).to_have_attribute("data-mode", "live")
    await page.get_by_role("button", name="Pause").click()
    await expect(state).to_have_attribute("data-mode", "paused")
    site.world.move("DM1042", "pending", "sent", 20)
    await asyncio.sleep(3)
    await expect(page.locator("#statuses")).to_contain_text("16,902")
    await page.get_by_role("button", name="Resume").click()
    await expect(page.locator("#statuses")).to_contain_text("16,922", timeout=SOON)


async def test_a_renewal_leaves_the_reader_where_they_were(tab):
    page, site = await tab.open(PAGES["delivery"]), tab.site
    await expect(page.locator("[data-live-state]")).to_have_attribute("data-mode", "live")
    await page.locator("#over-time").get_by_text("The same as a table").click()
    await page.locator("#over-time .scroll").evaluate("box => { box.style.width = '100px'; box.scrollLeft = 30; }")
    await page.locator("#over-time summary").focus()
    site.world.move("DM1042", "pending", "sent", 20)
    site.stream.tell()
    await expect(page.locator("#over-time table")).to_contain_text("16,922", timeout=SOON)
    await expect(page.locator("#over-time details")).to_have_attribute("open", "")
    await expect(page.locator("#over-time summary")).to_be_focused()


async def test_a_page_that_waits_for_recovery_comes_back_by_itself(browser, site):
    site.world.failure = ProblemError(STARTING, "this worker has not reached Kafka yet")
    async with visiting(browser, site, java_script_enabled=False) as tab:
        page = await tab.open("/")
        await expect(page.get_by_role("heading", level=1)).to_have_text("One moment")
        site.world.failure = None
        await expect(page.get_by_role("heading", level=1)).to_have_text("Overview", timeout=SOON)


# It works without scripts


async def test_everything_works_without_scripts(browser, site):
    async with visiting(browser, site, java_script_enabled=False) as tab:
        page = await tab.open("/")
        await page.get_by_role("link", name="held by the concurrency limit").click()
        await page.get_by_role("link", name="Autumn sale, reminder").click()
        await expect(page.locator("#now")).to_contain_text("at most 4 may run at once")
        await page.get_by_role("link", name="Cancel delivery").click()
        await page.get_by_label("Write token").fill(WRITE_TOKEN)
        await page.get_by_label("Yes, cancel this delivery").check()
        await page.get_by_role("button", name="Cancel the delivery").click()
        await expect(page.get_by_role("status")).to_contain_text("on its way")
        assert site.world.canceled == [HELD]
        await page.get_by_label("Find messages by id").fill(FAILED_MESSAGE)
        await page.get_by_role("button", name="Find").click()
        await expect(page.locator("#reason")).to_contain_text("User unknown in virtual mailbox table")
        assert re.fullmatch(r"[-\d: ]+ UTC", await page.locator("#life time").first.inner_text())
        await page.get_by_role("link", name="Deliveries").first.click()
        await page.get_by_label("Search label").fill("newsletter")
        await page.get_by_role("button", name="Show").click()
        await expect(page.locator("#list-title")).to_have_text("1 delivery")


# By keyboard


async def test_the_keyboard_reaches_everything_and_is_never_trapped(tab):
    for path in (PAGES["overview"], PAGES["deliveries"], PAGES["cancel"]):
        page = await tab.open(path)
        await page.keyboard.press("Tab")
        await expect(page.locator(":focus")).to_have_text("Skip to the content")
        seen = []
        for _ in range(400):
            mark = await page.evaluate("""() => {
                const focused = document.activeElement;
                if (focused === document.body) return null;
                const { outlineStyle, outlineWidth } = getComputedStyle(focused);
                const { width, height } = focused.getBoundingClientRect();
                return {
                    name: focused.outerHTML.slice(0, 200),
                    seen: width > 0 && height > 0 && outlineStyle !== "none" && parseFloat(outlineWidth) >= 2,
                };
            }""")
            if mark is None:
                break
            assert mark["seen"], mark["name"]
            seen.append(mark["name"])
            await page.keyboard.press("Tab")
        else:
            pytest.fail("the keyboard does not come out of the page")
        reachable = await page.locator("a[href]:visible, button:visible, input:visible, select:visible").count()
        assert len(seen) >= reachable


async def test_skipping_leads_to_the_content(tab):
    page = await tab.open("/deliveries")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await page.keyboard.press("Tab")
    # The next stop is in the content, whichever it is.
    assert await page.evaluate("document.querySelector('main').contains(document.activeElement)")


# Signing in


async def test_who_signed_in_may_follow_a_link_from_another_site(browser):
    async with served(CLOSED) as site, visiting(browser, site) as tab:
        page = await tab.open(PAGES["failed"])
        await page.get_by_label("Token").fill(READ_TOKEN)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.locator("#facts")).to_contain_text("u***@example.com")
        cookies = await page.context.cookies()
        assert [(each["httpOnly"], each["sameSite"]) for each in cookies] == [(True, "Strict")]
        link = f'<a href="{site.address}/statuses">there</a>'
        await page.route("http://another.example/", lambda route: route.fulfill(body=link, content_type="text/html"))
        await page.goto("http://another.example/")
        await page.get_by_role("link").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Statuses", timeout=SOON)


@pytest.mark.parametrize("width", [360, 1280])
async def test_one_signs_in_sees_who_one_is_and_signs_out(browser, width):
    async with served(CLOSED) as site, visiting(browser, site, viewport={"width": width, "height": 800}) as tab:
        page = await tab.open("/audit")
        await page.get_by_label("Token").fill("not-a-token")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_have_text("That token is not known here.")
        await page.get_by_label("Token").fill(WRITE_TOKEN)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Audit")
        await expect(page.locator(".user")).to_have_text("Signed in as write token Operator")
        assert await accessibility_findings(page) == []
        for path in ("/audit", "/deliveries/DM1042/audit", "/messages"):
            page = await tab.open(path)
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        assert await page.context.cookies() == []


async def test_a_long_name_of_a_user_does_not_widen_a_phones_page(browser):
    by_proxy = Settings(user_proxies=(ip_network("127.0.0.1"),), user_roles={"*": Role.OPERATOR}, sign_out_url="/out")
    headers = {"X-Forwarded-User": "ulla" * 25}
    async with (
        served(by_proxy) as site,
        visiting(browser, site, viewport={"width": 360, "height": 740}, extra_http_headers=headers) as tab,
    ):
        page = await tab.open("/deliveries/DM1042/audit")
        await expect(page.locator(".user")).to_contain_text("ulla")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        assert await accessibility_findings(page) == []


async def test_who_is_signed_out_elsewhere_is_asked_to_sign_in(browser):
    async with served(CLOSED) as site, visiting(browser, site) as tab:
        page = await tab.open("/login?next=/")
        await page.get_by_label("Token").fill(READ_TOKEN)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.locator("[data-live-state]")).to_have_attribute("data-mode", "live")
        await page.context.clear_cookies()
        site.stream.tell()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in", timeout=SOON)
