"""Commands that write to Kafka: `ingest` and `simulate`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import click

from processor.cli.common import echo, echo_json, json_option, progress
from processor.cli.connection import run_async, settings_from_environment
from processor.cli.lines import lines_of, payloads_of
from processor.demo.simulate import Record, traffic
from processor.engine.streams import Outgoing, Writer
from processor.providers import ADAPTERS
from processor.settings import Settings
from processor.wire.topics import CONTROL, EVENTS, LINKS, MTA, RAW_TOPICS, SMS

#: What a simulation calls each topic.
_TOPICS = {"mta": MTA, "sms": SMS, "control": CONTROL, "events": EVENTS, "links": LINKS}


@click.command()
@click.option(
    "--provider", required=True, type=click.Choice(sorted(ADAPTERS)), help="The provider that wrote the files."
)
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@json_option
def ingest(provider: str, files: tuple[Path, ...], as_json: bool) -> None:
    """Publish a provider's log files (plain or zstd) as raw records, one for each line.

    Of CSV, each record is the header line and one line of data. `-` reads standard input.
    """
    settings = settings_from_environment()
    topic = settings.topic(RAW_TOPICS[ADAPTERS[provider].channel])
    headers = (("provider", provider.encode()),)

    async def main() -> int:
        published = 0
        async with Writer(settings) as writer:
            with progress(f"{provider} -> {topic}", None) as advance:
                for path in files:
                    for payload in payloads_of(_lines(path), ADAPTERS[provider].is_header):
                        await writer.write(Outgoing(topic, payload, headers=headers))
                        published += 1
                        advance(1)
        return published

    published = run_async(settings, main)
    if as_json:
        echo_json({"published": published, "topic": topic})
    else:
        echo(f"published {published:,} records to {topic}")


def _lines(path: Path) -> Iterator[bytes]:
    with click.open_file(str(path), "rb") as file:
        for _, line in lines_of(file):
            yield line


@click.command()
@click.option("--seed", type=int, default=None, help="The same seed gives the same traffic; default: the clock.")
@click.option("--messages", type=click.IntRange(min=1), default=None, help="Number of messages; default: unlimited.")
@click.option("--rate", type=click.FloatRange(min=0.1), default=200.0, show_default=True, help="Messages a second.")
@click.option(
    "--speed", type=click.FloatRange(min=0.1), default=60.0, show_default=True, help="Simulated seconds per second."
)
@click.option("--fast", is_flag=True, help="Publish as fast as possible, with times in the past.")
@json_option
def simulate(  # noqa: PLR0913, PLR0917 - one for each option
    seed: int | None, messages: int | None, rate: float, speed: float, fast: bool, as_json: bool
) -> None:
    """Publish traffic like that of real providers, with duplicate, late, contradictory and broken records."""
    if fast and messages is None:
        raise click.UsageError("--fast needs --messages")
    settings = settings_from_environment()

    async def main() -> int:
        published = 0
        async with Writer(settings) as writer:
            with progress("simulate", None) as advance:
                async for record in paced(_run(seed, messages, rate, speed, fast), fast=fast):
                    await writer.write(outgoing(settings, record))
                    published += 1
                    advance(1)
        return published

    published = run_async(settings, main)
    if as_json:
        echo_json({"published": published})
    else:
        echo(f"published {published:,} records")


def _run(seed: int | None, messages: int | None, rate: float, speed: float, fast: bool) -> Iterator[Record]:
    now = datetime.now(timezone.utc)
    chosen = int(now.timestamp()) if seed is None else seed
    start = now
    if fast and messages is not None:
        # Published at once, so the whole of it must lie in the past.
        start = now - timedelta(seconds=messages / rate) - timedelta(days=3) / speed
    # Runs that share a Kafka must not share message ids, which begin with their delivery's number.
    first_delivery = 1042 if seed is not None else 1042 + int(time.time()) % 1_000_000 * 10
    return traffic(
        chosen,
        start,
        messages=messages,
        rate=rate,
        speed=speed,
        first_delivery=first_delivery,
        controls=True,
        links=True,
    )


async def paced(run: Iterable[Record], *, fast: bool = False) -> AsyncIterator[Record]:
    """Yield each record of a run when it is due; with `fast`, at once."""
    for record in run:
        wait = (record.due - datetime.now(timezone.utc)).total_seconds()
        if wait > 0 and not fast:
            await asyncio.sleep(wait)
        yield record


def outgoing(settings: Settings, record: Record) -> Outgoing:
    """Convert a simulated record to one to publish."""
    topic = settings.topic(_TOPICS[record.topic])
    return Outgoing(topic, record.value, record.key, record.headers)
