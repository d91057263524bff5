"""Every query of the dashboards, asked of a real Prometheus that scrapes real processes under simulated traffic."""

import asyncio
import json
import math
import re
from datetime import datetime, timedelta, timezone
from itertools import islice

import aiohttp
import pytest

from processor.cli.publish import outgoing
from processor.demo.simulate import traffic
from processor.demo.simulate.disorder import USUAL
from processor.engine.streams import Outgoing
from processor.wire.topics import EVENTS, SMS
from tests.gateway.conftest import SIGNED
from tests.gateway.serving import PUBLIC_URL, Caller, GatewayProcess
from tests.ops.conftest import panels_of, read_dashboards
from tests.rules.servers import free_address, ready, running
from tests.tools import require

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

MESSAGES = 900

#: Enough of what is rare to be seen among so few messages.
DISORDER = USUAL.__class__(**{**USUAL.__dict__, "contradictory": 0.05, "truncated": 0.01, "unknown_status": 0.01})

#: A reason that no rule covers.
UNQUALIFIED = b"mobile=447700900001&status=1&code=777&reference=r1"

#: What a variable of a dashboard stands for, when the reader has chosen nothing.
EVERYTHING = {"job": ".+", "instance": ".+", "channel": ".+", "provider": ".+", "topic": ".+", "stage": ".+"}
WINDOWS = {"$__rate_interval": "20s", "$__range": "5m"}

#: Queries that have no answer here, and why: by dashboard, panel and query.
EMPTY = {
    ("delivery-overview", "Silent for", "A"): "no provider is silent",
    ("delivery-overview", "Alerts that fire", "A"): "this Prometheus has no rules, so nothing fires",
    ("delivery-deliverability", "Links", "A"): "nobody publishes links here",
    ("delivery-deliverability", "Share that fails", "B"): "there was nothing a week ago",
    ("delivery-deliverability", "Providers in the time shown", "D"): "no provider is silent",
}


class Prometheus:
    """Its API."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = url, session

    async def _ask(self, path, **parameters):
        async with self._session.post(f"{self._url}/api/v1/{path}", data=parameters) as response:
            answer = json.loads(await response.text())
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    async def at_once(self, query):
        """Give the values of a query now."""
        found = (await self._ask("query", query=query))["result"]
        return [float(value) for series in found for _, value in [series["value"]]]

    async def over_time(self, query, start):
        """Give the values of a query from then on."""
        now = datetime.now(timezone.utc).timestamp()
        found = (await self._ask("query_range", query=query, start=start, end=now, step="1s"))["result"]
        return [float(value) for series in found for _, value in series["values"]]

    async def values_of(self, label, selector):
        """Give the values of a label of the series that a selector finds."""
        path = f"{self._url}/api/v1/label/{label}/values"
        async with self._session.get(path, params={"match[]": selector}) as response:
            return json.loads(await response.text())["data"]


def filled_in(text: str) -> str:
    """Put in what Grafana would."""
    for name, window in WINDOWS.items():
        text = text.replace(name, window)
    return re.sub(r"\$\{?([a-z]+)\}?", lambda found: EVERYTHING[found[1]], text)


async def scrape(folder, jobs):
    """Give the command of a Prometheus that scrapes the processes of each job every second, and its address."""
    # Python 3.10 has no asynchronous list within another one.
    targets = {}
    for job, processes in jobs.items():
        targets[job] = [(await process.address()).removeprefix("http://") for process in processes]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": addresses}]} for job, addresses in targets.items()
        ],
    }
    file, address = folder / "prometheus.yml", free_address()
    file.write_text(json.dumps(config), encoding="utf-8")
    options = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
    return [require("prometheus"), *options, "--log.level=warn"], f"http://{address}"


async def call(address):
    """Call the gateway once as Twilio does, and once as a stranger."""
    async with Caller(address) as caller:
        right = SIGNED["twilio"].make("s3cret", 0, url=f"{PUBLIC_URL}/hooks/twilio", body=b"MessageStatus=sent")
        await caller.call(right)
        await caller.call(right._replace(body=b"MessageStatus=delivered"))


async def publish(trial, address):
    """Publish lives of some days, within some seconds: rates need samples before and after."""
    speed, rate = 600.0, 300.0
    start = datetime.now(timezone.utc) - timedelta(seconds=MESSAGES / rate) - timedelta(days=3) / speed
    run = traffic(11, start, messages=MESSAGES, rate=rate, speed=speed, disorder=DISORDER, controls=True)
    records = [outgoing(trial.settings, record) for record in run]
    records.append(Outgoing(trial.topic(SMS), UNQUALIFIED, headers=(("provider", b"firetext"),)))
    portions, rest = 6, iter(records)
    while portion := list(islice(rest, len(records) // portions + 1)):
        await trial.publish(portion)
        await call(address)
        await asyncio.sleep(1.5)


async def test_every_query_has_an_answer_that_should_have_one(make_trial, tmp_path):
    trial = await make_trial(addresses_key="a-key-that-senders-share")
    started = datetime.now(timezone.utc).timestamp()
    workers = await trial.start_workers(2)
    for worker in workers:
        await worker.ready()
    gateway = GatewayProcess(trial, tmp_path, '[[routes]]\nprovider = "twilio"\nsecrets = ["value:s3cret"]\n')
    await gateway.ready()
    command, url = await scrape(tmp_path, {"delivery-status": workers, "delivery-status-gateway": [gateway]})
    with running(command, tmp_path / "prometheus.log"):
        await ready(url)
        async with aiohttp.ClientSession() as session:
            prometheus = Prometheus(url, session)

            async def knows(query="delivery_messages"):
                return await prometheus.at_once(query)

            await trial.eventually(knows, "Prometheus has scraped")
            before = max(await knows("scrape_samples_scraped"))
            await publish(trial, await gateway.public_address())
            await trial.settled()
            # What was committed last is shown by the next scrape, and what the sweep found by one soon after.
            await trial.eventually(lambda: knows("sum(delivery_oldest_in_status_seconds) > 0"), "rows were swept")

            empty = await empty_queries(prometheus, started)
            assert {place: why for place, why in EMPTY.items() if place not in empty} == {}, "these have an answer now"
            assert [place for place in empty if place not in EMPTY] == []
            assert await unfilled_variables(prometheus) == []

            after = max(await knows("scrape_samples_scraped"))
            # What traffic may add is the lag of partitions: a line for each.
            assert after - before <= len(trial.inputs()) + trial.settings.partitions
            assert await knows("sum(delivery_messages)") == [float(len(await trial.rows()))]
    judge_log(workers, len(await trial.records(EVENTS)))


async def empty_queries(prometheus, started):
    """Give the place of every query without a value: NaN, which is 0 of 0, is none."""
    empty = []
    for uid, dashboard in read_dashboards().items():
        for panel in panels_of(dashboard):
            for target in panel["targets"]:
                query = filled_in(target["expr"])
                values = await (
                    prometheus.at_once(query) if target["instant"] else prometheus.over_time(query, started)
                )
                if all(math.isnan(value) for value in values):
                    empty.append((uid, panel["title"], target["refId"]))
    return empty


async def unfilled_variables(prometheus):
    """Give the variables that Grafana could offer nothing for."""
    unfilled = []
    for uid, dashboard in read_dashboards().items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", filled_in(variable["query"])).groups()
                if not await prometheus.values_of(label, selector):
                    unfilled.append((uid, variable["name"]))
    return unfilled


def judge_log(workers, events):
    """Each line is JSON and tells an event, and there are far fewer of them than messages."""
    lines = [json.loads(line) for worker in workers for line in worker.log_text().splitlines()]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    told = [line["event"] for line in lines]
    assert {"worker_started", "partitions_assigned", "partition_running", "dead_letters"} <= set(told)
    assert events > 2 * MESSAGES
    assert len(lines) < events / 10, {event: told.count(event) for event in set(told)}
