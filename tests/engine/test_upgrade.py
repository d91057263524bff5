"""An earlier version and this one work in one group: upgrade and rollback under load, nothing lost, nothing twice."""

import asyncio
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from processor.demo.simulate import canonical_events
from tests.engine.harness import WORKER, eventually

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
#: Tags may not travel with a clone; commits do.
EARLIER = (Path(__file__).parent / "earlier_commit").read_text(encoding="ascii").strip()


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """Unpack the earlier version's package."""
    packed = subprocess.run(["git", "-C", ROOT, "archive", EARLIER, "processor"], capture_output=True, check=False)
    if packed.returncode:
        if os.environ.get("REQUIRE_TOOLS") == "1":
            pytest.fail(packed.stderr.decode(), pytrace=False)
        pytest.skip(f"this clone has no commit {EARLIER[:7]}")
    folder = tmp_path / "earlier"
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
    program = "import processor; print(processor.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    found = subprocess.check_output([sys.executable, "-c", program], cwd=folder, env=environment, text=True)
    assert Path(found.strip()).is_relative_to(folder)
    return folder


async def test_a_group_is_upgraded_and_rolled_back_under_load(make_trial, earlier):
    trial = await make_trial(partitions=3)
    start = datetime.now(timezone.utc) - timedelta(minutes=30)
    events = list(canonical_events(1, 1_500, start, out_of_order=0.1, duplicates=0.05))
    fifth = len(events) // 5
    published = 0

    async def publish_more() -> None:
        nonlocal published
        await trial.publish_events(events[published : published + fifth])
        published += fifth

    def start_earlier():
        # From its own folder: where `-m` looks first.
        command = ["sh", "-c", f"cd {earlier} && PYTHONPATH={earlier} exec {sys.executable} -m processor worker"]
        return trial.start_worker(command)

    def start_present():
        return trial.start_worker(WORKER)

    async def replace(old, begin):
        """Stop one worker and start another one, as a rolling upgrade does, while events come."""
        before = await trial.committed_total()
        await asyncio.gather(publish_more(), old.stop())
        new = await begin()

        async def goes_on() -> bool:
            return await trial.committed_total() > before

        await eventually(goes_on, "the group goes on")
        return new

    await publish_more()
    first, second = await start_earlier(), await start_earlier()
    first = await replace(first, start_present)  # Both versions are in the group.
    second = await replace(second, start_present)
    first = await replace(first, start_earlier)  # And back again.
    await replace(second, start_earlier)
    await trial.publish_events(events[published:])
    await trial.settled()
    await trial.assert_rows_are_those_of_the_offline_fold()
    await trial.assert_every_event_had_its_effect_once()
    await trial.assert_every_status_change_is_told_once()
    await trial.assert_counts_are_a_recount_of_the_rows()
