"""Changes over time, as the API tells them and the page draws them."""

from datetime import datetime, timezone

import pytest
from aiohttp.test_utils import TestClient, TestServer

from processor.domain.moment import Micros, to_microseconds
from processor.views.history import Span
from processor.web.problems import DELIVERY_NOT_KNOWN, ProblemError
from processor.wire.topics import COUNTS, HISTORY
from tests.views.told import MINUTE, counts, sample
from tests.web.campaigns import campaigns_of
from tests.web.page_reader import Reader
from tests.web.page_server import OPEN, Stream, application
from tests.web.world import World

NOW = datetime.now(timezone.utc).replace(second=30)
THERE = to_microseconds(NOW)
BUSY = "busy", "new"


@pytest.fixture
def world() -> World:
    """One in which two deliveries were busy: two hours ago, and now."""
    made = World(NOW, [each for each in campaigns_of(NOW) if each.last != MINUTE])
    told = made._deliveries
    first, second = BUSY
    told.take(COUNTS, [counts({"sent": 1}, first, at=THERE - 5 * 60 * MINUTE)])
    for at, sent, failed in ((THERE - 2 * 60 * MINUTE, 100, 10), (THERE - MINUTE, 150, 30)):
        figures = {"sent": sent, "failed": failed, "hard": failed // 2}
        told.take(HISTORY, [sample(Micros(at), {first: {"ses": figures}})])
    now = counts({"sent": 7}, second, at=THERE, by_provider={"kumomta": {"sent": 7}})
    told.take(COUNTS, [now])
    return made


def sums(world: World, **of) -> tuple[int, int, int, int]:
    points = world.answers.history(**{"span": Span.THREE_HOURS, **of}).points
    return tuple(sum(getattr(at, name) for at in points) for name in ("processed", "success", "failed", "hard"))


async def test_of_all_and_of_some(world):
    first, second = BUSY
    assert sums(world) == (187, 157, 30, 15)
    assert sums(world, delivery=first) == (180, 150, 30, 15)
    assert sums(world, delivery=second) == sums(world, provider="kumomta") == (7, 7, 0, 0)
    assert sums(world, delivery=second, provider="ses") == (0, 0, 0, 0)
    assert sums(world, span=Span.ONE_HOUR, delivery=first) == (70, 50, 20, 10)


async def test_of_a_campaign_it_is_the_sum_over_its_deliveries(world):
    by_campaign: dict[str, list[str]] = {}
    for each in world._deliveries.entries.values():
        if each.campaign:
            by_campaign.setdefault(each.campaign, []).append(each.delivery_id)
    for campaign, members in by_campaign.items():
        several = [sums(world, delivery=each) for each in members]
        assert sums(world, campaign=campaign) == tuple(map(sum, zip(*several, strict=True)))
    assert sums(world, campaign="none of ours") == (0, 0, 0, 0)


async def test_a_delivery_that_nobody_knows_is_told(world):
    with pytest.raises(ProblemError) as told:
        sums(world, delivery="nope")
    assert told.value.kind is DELIVERY_NOT_KNOWN


async def test_the_page_draws_it_and_has_its_numbers(world):
    first, _ = BUSY
    async with TestClient(TestServer(application(world, Stream(), OPEN))) as client:
        reader = Reader(client)
        for path in (f"/deliveries/{first}", f"/deliveries/{first}?span=24h"):
            section = (await reader.get(path)).one(id="history")
            assert [each.one("dd").text for each in section.all("div", class_="tile")] == [
                "180",
                "150",
                "30",
                "15",
                "0",
            ]
        rows = (await reader.get(f"/deliveries/{first}")).one(id="history").one("table").rows()
        assert [row[1:] for row in rows[1:]] == [["70", "50", "20", "10", "0"], ["110", "100", "10", "5", "0"]]
        section = (await reader.get("/?span=1h")).one(id="history")
        assert len(section.all("rect", class_="fill")) == 3 + 2
        chosen = [each.text for each in section.all("strong")]
        assert chosen == ["1 hour"]
        assert [each["href"] for each in section.all("a") if each["href"].startswith("/?")] == [
            f"/?span={each}#history" for each in ("3h", "24h", "30d")
        ]


async def test_where_nothing_happened_the_page_says_so():
    async with TestClient(TestServer(application(World(NOW, []), Stream(), OPEN))) as client:
        section = (await Reader(client).get("/")).one(id="history")
        assert "Nothing was processed in this time." in section.text


async def test_over_more_than_hours_the_ends_have_their_date(world):
    first, _ = BUSY
    async with TestClient(TestServer(application(world, Stream(), OPEN))) as client:
        for span, is_short in (("1h", True), ("3h", True), ("24h", False), ("30d", False)):
            page = await Reader(client).get(f"/deliveries/{first}?span={span}")
            for section in ("history", "over-time"):
                ends = page.one(id=section).one("div", class_="axis-x").all("time")
                assert ["data-short" in each.attributes for each in ends] == [is_short] * 2
