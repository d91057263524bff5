"""Recovery: a worker starts on a changelog, or on its own folder; and what a row costs it in memory."""

from __future__ import annotations

import asyncio
import time

from bench import Bench, free_port, ready, remove, running
from contenders import Contender
from load import fill_events, fill_rows
from measure import others_share
from tables import Row

from processor.engine.admin import create_topics
from processor.settings import Settings

#: Messages whose events wait for a worker that starts.
_WAITING = 1_000


async def recovery(bench: Bench) -> None:
    """Start a worker on changelogs of different sizes; where it keeps its rows on disk, start it once more."""
    least: dict[tuple[str, str], Row] = {}
    for count in bench.size.rows:
        settings = bench.on(f"recovery-{count}.")
        await create_topics(settings)
        await fill_rows(settings, count)
        for contender in bench.ours:
            for source in (
                ("from the changelog", "from its folder") if contender.keeps_rows else ("from the changelog",)
            ):
                measured = _recovered(bench, settings, contender, count, least.get((contender.name, source)))
                row = await bench.step("recovery", contender.name, {"rows": count, "source": source}, measured)
                if "failure" not in row:
                    least.setdefault((contender.name, source), row)
        await remove(settings, settings.topic_prefix)


async def _recovered(bench: Bench, settings: Settings, contender: Contender, count: int, least: Row | None) -> Row:
    row = await recover(bench, settings, contender)
    row["rows_per_second"] = round(count / max(row["seconds_to_recover"], 0.01))
    if least is not None:
        row["bytes_per_row"] = round((row["rss_mib"] - least["rss_mib"]) * 1024 * 1024 / (count - least["rows"]))
    return row


async def recover(bench: Bench, settings: Settings, contender: Contender) -> Row:
    """Start a worker that has events to fold; time it until it is ready and until its first commit."""
    port = free_port()
    async with bench.group(contender, settings) as group:
        before = await group.committed()
        await fill_events(settings, _WAITING)
        async with running(bench.process(contender, settings, port)) as process:
            begin = process.sample(0)
            begun, recovered = await ready(process, port)
            while await group.committed() == before:
                process.check()
                await asyncio.sleep(0.02)
            first_commit = time.monotonic() - process.started
            samples = [begin, process.sample(0)]
            # What recovery took on its way is given back by now.
            await asyncio.sleep(3)
            return {
                "seconds_to_recover": round(recovered - begun, 2),
                "seconds_to_first_commit": round(first_commit, 2),
                "rss_mib": round(process.rss_mib(), 1),
                "peak_rss_mib": round(process.peak_rss_mib(), 1),
                "others_percent": round(100 * others_share(samples)),
            }
