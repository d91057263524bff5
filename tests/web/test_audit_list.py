"""Who did what, by API and page: for operators, and beside a delivery for everybody who may read."""

import pytest
from aiohttp.test_utils import TestClient, TestServer

from processor.engine.clients import KafkaConnectionError
from processor.views.audit import AuditQuery
from processor.wire.audit import Deed, Via
from tests.web.document import parse
from tests.web.entries import AuditInMemory, entry
from tests.web.page_reader import Reader
from tests.web.page_server import CLOSED, OPEN, Stream, application
from tests.web.workers import READ_TOKEN, WRITE_TOKEN, workers
from tests.web.world import READ_TOKEN as PAGE_READ_TOKEN
from tests.web.world import WRITE_TOKEN as PAGE_TOKEN
from tests.web.world import World

AUDIT = "/api/v1/audit"
PROBLEM = "urn:delivery-status:problem:"


@pytest.mark.parametrize(
    ("query", "has"),
    [
        (AuditQuery(), True),
        (AuditQuery(who="ulla"), True),
        (AuditQuery(who="ull"), False),
        (AuditQuery(deed=Deed.UNMASK, via=Via.PAGE, subject="DM1"), True),
        (AuditQuery(deed=Deed.CANCEL), False),
        (AuditQuery(via=Via.API), False),
        (AuditQuery(subject="DM10"), False),
        (AuditQuery(with_sights=False), False),
    ],
)
def test_what_is_chosen(query, has):
    assert query.has(entry(0, "ulla", Deed.UNMASK, "DM1")) is has


class TestApi:
    @pytest.fixture
    async def worker(self):
        async with workers(1, read_token=READ_TOKEN) as [one]:
            yield one

    async def ask(self, worker, query="", token=WRITE_TOKEN):
        return await worker.ask(AUDIT + query, token)

    async def test_lists_the_newest_first_page_by_page(self, worker):
        _, first, _ = await self.ask(worker, "?limit=3")
        assert [item["deed"] for item in first["items"]] == ["unmask", "control", "cancel"]
        assert first["items"][1] == {
            "time": "2026-11-23T07:58:00Z",
            "who": "ulla@example.com",
            "address": "10.0.0.7",
            "via": "api",
            "deed": "control",
            "subject": "DM1042",
            "detail": "pause",
        }
        _, rest, _ = await self.ask(worker, f"?limit=3&cursor={first['next']}")
        assert [item["deed"] for item in rest["items"]] == ["erase", "link"]
        assert (rest["next"], rest["incomplete"]) == (None, [])

    @pytest.mark.parametrize(
        ("query", "number"),
        [("?who=ulla@example.com", 2), ("?deed=cancel", 1), ("?via=command", 2), ("?subject=DM1042&deed=control", 1)],
    )
    async def test_filters(self, worker, query, number):
        _, found, _ = await self.ask(worker, query)
        assert len(found["items"]) == number

    @pytest.mark.parametrize("query", ["?deed=look", "?via=fax", "?cursor=x", "?cursor=0-1.x", "?who=", "?limit=501"])
    async def test_what_cannot_be_asked(self, worker, query):
        status, told, _ = await self.ask(worker, query)
        assert (status, told["type"]) == (400, PROBLEM + "invalid-request")

    async def test_is_for_operators(self, worker):
        assert (await self.ask(worker, token=None))[0] == 401
        assert (await self.ask(worker, token=READ_TOKEN))[0] == 401

    async def test_nobody_is_an_operator_where_nobody_can_be(self):
        async with workers(1, write_token="") as [one]:
            status, told, _ = await one.ask(AUDIT)
            assert (status, told["type"]) == (403, PROBLEM + "forbidden")
            assert "nobody is an operator" in told["detail"]

    async def test_says_when_kafka_does_not_answer(self, worker):
        worker.api._audit_lists._source.failure = KafkaConnectionError("away")
        status, told, _ = await self.ask(worker)
        assert (status, told["type"]) == (503, PROBLEM + "broker-away")


class TestPage:
    @pytest.fixture
    def world(self):
        return World()

    @pytest.fixture
    async def reader(self, world):
        async with TestClient(TestServer(application(world, Stream(), CLOSED))) as client:
            yield Reader(client)

    async def test_leads_to_signing_in_and_then_lists(self, reader):
        assert await reader.leads_to("/audit") == "/login?next=%2Faudit"
        await reader.send("/login", 303, token=PAGE_TOKEN, next="/audit")
        page = await reader.get("/audit")
        assert "ulla@example.com" in page.text
        assert "<script>alert(1)</script>" in page.text
        assert "\u202e" not in page.text
        assert "/deliveries/DM1043" in [link["href"] for link in page.one(id="list").all("a")]
        assert "/audit" in [link["href"] for link in (await reader.get("/")).all("a")]

    async def test_filters_and_goes_on(self, reader):
        await reader.send("/login", 303, token=PAGE_TOKEN, next="/")
        page = await reader.get("/audit?who=ulla@example.com&deed=control")
        assert len(page.one("tbody").all("tr")) == 1
        assert "Nothing fits" in (await reader.get("/audit?who=nobody")).text

    async def test_tells_a_reader_that_the_role_does_not_do(self, reader):
        await reader.send("/login", 303, token=PAGE_READ_TOKEN, next="/")
        page = await reader.get("/audit", 403)
        assert page.one("h1").text == "Not with this role"
        assert "/audit" not in [link["href"] for link in page.all("a")]

    async def test_an_open_worker_asks_who_it_is(self):
        async with TestClient(TestServer(application(World(), Stream(), OPEN))) as client:
            assert await Reader(client).leads_to("/audit") == "/login?next=%2Faudit"

    @pytest.mark.parametrize(("token", "rows"), [(PAGE_READ_TOKEN, 1), (PAGE_TOKEN, 2)])
    async def test_beside_a_delivery_all_see_who_did_it_and_operators_who_looked(self, reader, token, rows):
        await reader.send("/login", 303, token=token, next="/")
        deeds = (await reader.get("/deliveries/DM1042/audit")).one(id="deeds")
        assert "ulla@example.com" in deeds.text
        assert "pause" in deeds.text
        assert len(deeds.one("tbody").all("tr")) == rows
        assert bool(deeds.all("a", href="/audit?subject=DM1042")) is (token == PAGE_TOKEN)

    async def test_the_tab_goes_without_while_kafka_does_not_answer(self, reader, world):
        world.audit.failure = KafkaConnectionError("away")
        await reader.send("/login", 303, token=PAGE_TOKEN, next="/")
        page = await reader.get("/deliveries/DM1042/audit")
        assert "cannot be read now" in page.one(id="deeds").text
        async with reader.client.get("/audit") as response:
            assert response.status == 503
            assert "Kafka" in parse(await response.text()).text


def test_what_stands_in_for_the_topic_is_in_order():
    times = [each.time for each in AuditInMemory().kept]
    assert times == sorted(times, reverse=True)
