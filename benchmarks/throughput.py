"""Events a second, of ours and of a plain Faust agent with a table, on the same topic of one embedded Kafka."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from load import committed, fill

from processor.broker import EmbeddedKafka
from processor.engine import clients
from processor.engine.admin import create_topics
from processor.settings import Settings

HERE = Path(__file__).parent
PARTITIONS = 8


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


async def measure(name: str, command: list[str], environment: dict[str, str], settings: Settings, group: str, events: int, limit: float) -> dict[str, object]:
    """Run a peer until it has committed all events, or for `limit` seconds from its first commit."""
    topic = settings.topic_prefix + "events.v1"
    admin = clients.admin(settings)
    await admin.start()
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    try:
        first, done = None, 0
        while done < events:
            await asyncio.sleep(0.1)
            if process.poll() is not None:
                raise SystemExit(f"{name} ended with {process.returncode}")
            done = await committed(admin, group, topic, PARTITIONS)
            now = time.monotonic()
            if done and first is None:
                first = (now, done, cpu_seconds(process.pid))
            if first and now - first[0] > limit:
                break
        assert first is not None
        seconds, folded = now - first[0], done - first[1]
        cpu = cpu_seconds(process.pid) - first[2]
        return {
            "name": name,
            "events": folded,
            "events_per_second": round(folded / seconds),
            "events_per_cpu_second": round(folded / cpu),
            "peak_rss_mib": round(peak_mib(process.pid)),
        }
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        await admin.close()


async def main(messages: int, peers: list[str], limit: float) -> None:
    with EmbeddedKafka() as kafka, tempfile.TemporaryDirectory() as data:
        settings = Settings(brokers=kafka.bootstrap_servers, partitions=PARTITIONS)
        await create_topics(settings)
        events = await fill(settings, "delivery.events.v1", messages, PARTITIONS)
        print(f"{events:,} events of {messages:,} messages, {PARTITIONS} partitions", file=sys.stderr)
        results = []
        for peer in peers:
            if peer == "ours":
                command = [sys.executable, "-m", "processor", "worker"]
                environment = {"DELIVERY_BROKERS": kafka.bootstrap_servers, "DELIVERY_HTTP_PORT": os.environ.get("BENCH_HTTP_PORT", "0"), "DELIVERY_LOG_LEVEL": "ERROR"}
                group = settings.app_id
            else:
                group = "plain-faust"
                command = [sys.executable, str(HERE / "peers" / "plain_faust.py")]
                environment = {
                    "BENCH_BROKERS": kafka.bootstrap_servers, "BENCH_TOPIC": "delivery.events.v1", "BENCH_GROUP": group,
                    "BENCH_PARTITIONS": str(PARTITIONS), "BENCH_DATA": data,
                }
            results.append(await measure(peer, command, environment, settings, group, events, limit))
            print(json.dumps(results[-1]), file=sys.stderr)
    base = next((each["events_per_second"] for each in results if each["name"] == "plain faust"), None)
    print("| peer | events/s | events per CPU-second | peak RSS, MiB | ratio |")
    print("|---|---|---|---|---|")
    for each in results:
        ratio = f"{each['events_per_second'] / base:.1f}" if base else ""
        print(f"| {each['name']} | {each['events_per_second']:,} | {each['events_per_cpu_second']:,} | {each['peak_rss_mib']} | {ratio} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that a slow peer is watched")
    parser.add_argument("--peers", default="ours,plain faust")
    options = parser.parse_args()
    asyncio.run(main(options.messages, options.peers.split(","), options.limit))
