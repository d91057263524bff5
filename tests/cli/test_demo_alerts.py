"""Each fault of the demo is told by its alert, and by no other, and passes: the shipped rules and routes, in real time
lapse (tests/rules/servers.py), with the demo's own receiver at the end."""

import asyncio
import re
from contextlib import AsyncExitStack

import aiohttp
import pytest

from tests.engine.harness import environment_of, eventually, settings_for_a_trial
from tests.rules.servers import alertmanager, free_address, prometheus
from tests.tools import require

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

#: Alerts by fault, and what their summaries name.
ALERTS = {
    "silent-provider": ("DeliveryProviderSilent", "mailgun"),
    "stuck-delivery": ("DeliveryMessagesStuck", "email"),
    "bounce-storm": ("DeliveryBounceStorm", "sparkpost"),
    "dead-letters": ("DeliveryDeadLetters", "postmark"),
}

#: What time lapse alone may add: the seconds in which a worker joins its group, or a busy machine does not answer, are
#: minutes in it.
OF_TIME_LAPSE = {"DeliveryEventsStalled", "DeliveryProcessorDown"}


class Told:
    """The alerts that the demo has shown."""

    def __init__(self, running):
        self._running = running

    def lines(self):
        return re.findall(r"^alert (FIRING|RESOLVED) \w+ (\w+): (.*)$", self._running.stderr(), re.MULTILINE)

    def have_fired(self):
        return {name: summary for status, name, summary in self.lines() if status == "FIRING"}

    def are_over(self):
        last = {name: status for status, name, _ in self.lines()}
        return {name for name, status in last.items() if status == "RESOLVED"}


def address(running, name):
    def found():
        return re.search(rf"^{name} +(http://[\w.:]+)", running.stderr(), re.MULTILINE)

    return running.until(found, f"it says where {name} is")[1]


async def get(url):
    """Give a body; nothing when there is no good answer."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.text() if response.status == 200 else ""
    except aiohttp.ClientError:
        return ""


async def watched(stack, running, folder):
    """Start Prometheus and Alertmanager beside a demo that has started; give what it is told."""
    page, alerts = address(running, "page"), address(running, "alerts")
    await eventually(lambda: get(f"{page}/readyz"), "the worker is ready")
    target, alerts_to = page.removeprefix("http://"), free_address()
    watching = await stack.enter_async_context(prometheus(folder / "prometheus", target, alerts_to))

    async def is_seen():
        return '"health":"up"' in await get(f"http://{watching}/api/v1/targets")

    # Until then Prometheus cannot tell the worker from one that is down.
    await eventually(is_seen, "Prometheus has looked at the worker")
    await stack.enter_async_context(alertmanager(folder / "alertmanager", alerts, alerts_to))
    return Told(running)


@pytest.fixture
def settings(brokers):
    require("prometheus")
    require("prometheus-alertmanager")
    return {**environment_of(settings_for_a_trial(brokers, partitions=2)), "DELIVERY_HTTP_PORT": "0"}


# Two runs, for a storm that lasts as long as silence has to would be an hour's in time lapse, and fail other alerts.
# With so little traffic silence is found after 83 seconds: it lasts half as long again.
@pytest.mark.parametrize(
    ("faults", "seconds"), [(["silent-provider", "stuck-delivery"], 126), (["bounce-storm", "dead-letters"], 30)]
)
async def test_what_the_traffic_suffers_from(started, settings, tmp_path, faults, seconds):
    options = ["--json", "--rate", "10", "--after", "15", "--lasting", seconds]
    for fault in faults:
        options += ["--fault", fault]
    with started("demo", *options, **settings) as running:
        async with AsyncExitStack() as stack:
            told = await watched(stack, running, tmp_path)
            expected = {ALERTS[fault][0] for fault in faults}

            async def all_fire():
                return set(told.have_fired()) >= expected

            async def all_are_over():
                return told.are_over() >= expected

            await eventually(all_fire, "every fault is told", 300)
            await eventually(all_are_over, "every fault is over", 300)
            fired = told.have_fired()
            assert set(fired) - OF_TIME_LAPSE == expected
            assert all(ALERTS[fault][1] in fired[ALERTS[fault][0]] for fault in faults)
        running.press_ctrl_c()
        assert running.ended() == 0, running.stderr()


async def test_a_worker_that_is_down(started, settings, tmp_path):
    options = ("--json", "--rate", "10", "--fault", "worker-down", "--after", "30", "--lasting", "14")
    with started("demo", *options, **settings) as running:
        async with AsyncExitStack() as stack:
            told = await watched(stack, running, tmp_path)

            async def is_told():
                return "DeliveryProcessorDown" in told.have_fired()

            async def is_over():
                return "DeliveryProcessorDown" in told.are_over()

            await eventually(is_told, "that there is no worker is told")
            await eventually(is_over, "that there is one again is told")
            await asyncio.sleep(5)
            assert set(told.have_fired()) - OF_TIME_LAPSE == set()
        running.press_ctrl_c()
        assert running.ended() == 0, running.stderr()
