"""Real Prometheus and Alertmanager processes on the shipped files, in a copy that runs thirty times as fast.

`time_lapse` is the one place where the copies differ from what is shipped: every duration (scrape and evaluation
intervals, `for`, ranges, offsets, group waits) becomes a thirtieth, so that a minute is two seconds. Thresholds stay as
they are. Besides, the renderers put in the addresses of the test.
"""

import re
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager

import aiohttp
import yaml
from aiohttp import web

from tests.engine.harness import eventually
from tests.rules.shipped import ALERTMANAGER, PROMETHEUS
from tests.tools import require

#: How many times as fast.
SPEED = 30

_MILLISECONDS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(
    r"(\[|\boffset |\b(?:for|interval|scrape_interval|evaluation_interval|group_wait|group_interval|repeat_interval): )"
    r"(\d+)([smhdw])\b"
)


def time_lapse(text):
    """Make every duration of a configuration or of rules a thirtieth."""
    return _DURATION.sub(lambda at: f"{at[1]}{int(at[2]) * _MILLISECONDS[at[3]] // SPEED}ms", text)


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def render_prometheus(folder, worker, alertmanager):
    """Copy Prometheus' files, for one worker at `host:port`."""
    (folder / "rules").mkdir(parents=True)
    for path in (PROMETHEUS / "rules").glob("*.yml"):
        (folder / "rules" / path.name).write_text(time_lapse(path.read_text("utf-8")), "utf-8")
    config = yaml.safe_load(time_lapse((PROMETHEUS / "prometheus.yml").read_text("utf-8")))
    # Nobody listens where gateways would be found.
    scrape, _ = config["scrape_configs"]
    config["scrape_configs"] = [scrape]
    del scrape["dns_sd_configs"]
    scrape["static_configs"] = [{"targets": [worker]}]
    # The worker is no faster than usual: what is slow on a busy machine must not count as down.
    config["global"]["scrape_interval"] = config["global"]["scrape_timeout"] = "2s"
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    return file


def render_alertmanager(folder, hooks):
    """Copy Alertmanager's file, for web hooks at `http://host:port`."""
    folder.mkdir(parents=True)
    text = time_lapse((ALERTMANAGER / "alertmanager.yml").read_text("utf-8"))
    file = folder / "alertmanager.yml"
    file.write_text(re.sub(r"url: http://[^/]+", f"url: {hooks}", text), "utf-8")
    return file


@contextmanager
def running(command, log):
    """Run a server until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
        # Pytest shows this where the test failed.
        sys.stdout.write(f"{command[0]}: exit code {process.returncode}\n{log.read_text(errors='replace')[-3_000:]}\n")


async def ready(url):
    """Wait until a server says that it is ready."""
    async with aiohttp.ClientSession() as session:

        async def is_ready():
            try:
                async with session.get(f"{url}/-/ready") as response:
                    return response.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(is_ready, f"{url} is ready")


@asynccontextmanager
async def alertmanager(folder, hooks, address):
    """Run Alertmanager at `host:port`."""
    file = render_alertmanager(folder, hooks)
    command = [
        require("prometheus-alertmanager"),
        f"--config.file={file}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    with running(command, folder / "log"):
        await ready(f"http://{address}")
        yield


@asynccontextmanager
async def prometheus(folder, worker, alerts_to):
    """Run Prometheus; give its `host:port`."""
    file, address = render_prometheus(folder, worker, alerts_to), free_address()
    command = [
        require("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        # What Alertmanager does not take, it is told again after this: a thirtieth, too.
        "--rules.alert.resend-delay=2s",
        "--log.level=warn",
    ]
    with running(command, folder / "log"):
        await ready(f"http://{address}")
        yield address


class Hooks:
    """What Alertmanager sends: receives it, and keeps what is true of every alert."""

    def __init__(self):
        #: By receiver, alert name and what tells it apart: `firing` or `resolved`, as it was told last.
        self.told = {}

    async def receive(self, request):
        body = await request.json()
        for alert in body["alerts"]:
            labels = dict(alert["labels"])
            name, severity = labels.pop("alertname"), labels.pop("severity")
            labels.pop("job"), labels.pop("instance", None)
            assert f"/{severity}" == request.path
            assert alert["annotations"]["runbook_url"].endswith(f"/{name}.md")
            self.told[(severity, name, *sorted(labels.items()))] = alert["status"]
        return web.Response()


@asynccontextmanager
async def receiving():
    """Serve web hooks; give them and their `http://host:port`."""
    hooks, application = Hooks(), web.Application()
    for severity in ("critical", "warning"):
        application.router.add_post(f"/{severity}", hooks.receive)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield hooks, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
