"""What a load needs follows from what was measured, and from nothing else."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from processor.cli import cli
from processor.cli.sizing import EVENTS_A_MESSAGE, KEPT_ON_BROKER, ON_BROKER, STORES, Load, in_bytes, in_time, size_of
from processor.wire.topics import EVENTS, MESSAGES, RECEIPTS

ROOT = Path(__file__).parents[2]
DAY = 86_400


def test_a_billion_messages_need_the_workers_that_the_docs_compute():
    # docs/performance.md: 205,500 / R cores, with R the events per CPU-second.
    size = size_of(Load(1_000_000_000))
    assert size.workers == pytest.approx(205_500 / STORES["rocksdb"].events_a_second, abs=1)
    assert size.events_a_second == pytest.approx(1e9 * EVENTS_A_MESSAGE / DAY, abs=1)


def test_what_is_left_of_a_group_holds_all_rows():
    load = Load(10_000_000_000, store="memory")
    size = size_of(load)
    needed = size.rows * STORES["memory"].row_memory / 2**20
    assert (size.workers - 1) * size.worker_memory_mib >= needed
    assert size.rows == load.messages * 30


def test_few_messages_need_two_workers_all_the_same():
    assert size_of(Load(1)).workers == 2


def test_brokers_keep_each_topic_as_long_as_it_is_declared_and_rows_as_long_as_they_are_kept():
    assert [topic for topic, _ in ON_BROKER] == [EVENTS, RECEIPTS, MESSAGES]
    one = size_of(Load(1_000_000, replicas=1))
    weekly = sum(weight for _, weight in ON_BROKER)
    assert one.brokers_disk_mib == pytest.approx(1_000_000 * (7 * weekly + 30 * KEPT_ON_BROKER) / 2**20, abs=1)
    assert size_of(Load(1_000_000, replicas=3)).brokers_disk_mib == pytest.approx(3 * one.brokers_disk_mib, abs=3)


@pytest.mark.parametrize(
    ("more", "grows"),
    [
        ({"peak": 30.0}, "workers"),
        ({"use": 0.1}, "workers"),
        ({"events_a_message": 20.0}, "workers"),
        ({"retention_days": 90.0}, "worker_disk_mib"),
        ({"messages": 2_000_000_000}, "partitions"),
        ({"store": "memory"}, "worker_memory_mib"),
        ({"messages": 200_000_000}, "rebuild_seconds"),
    ],
)
def test_more_of_it_needs_more(more, grows):
    load = Load(100_000_000)
    assert getattr(size_of(load._replace(**more)), grows) > getattr(size_of(load), grows)


@pytest.mark.parametrize("messages", [1, 10**6, 10**9])
def test_there_are_at_least_four_partitions_a_worker_and_equal_shares_of_them(messages):
    size = size_of(Load(messages))
    assert size.partitions >= 4 * size.workers
    assert size.partitions % 8 == 0


def test_the_figures_are_those_of_the_docs():
    performance = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    for figure in ("| 36,401 ", "| 419 ", "| 30,932 ", "| 519 "):
        assert figure in performance
    assert re.search(r"bytes of RSS a row, 1,000,000 rows, without and with the index \| \| 270 and 306 ", performance)
    assert re.search(r"the same, until all of the index is there \| 83,000 \| 125,000 ", performance)
    assert re.search(r"bytes on disk a row, without and with it \| \| 96, 177 ", performance)
    assert re.search(r"restored rows per CPU-second, without and with it \|.*\| 104,000, 42,000 ", performance)
    sizing = (ROOT / "docs/sizing.md").read_text(encoding="utf-8")
    for _, weight in ON_BROKER:
        assert f"{weight:,}" in sizing


@pytest.mark.parametrize(
    ("mib", "text"), [(0, "0 MiB"), (9.5, "9.5 MiB"), (512, "512 MiB"), (2048, "2.0 GiB"), (3 * 2**20, "3.0 TiB")]
)
def test_bytes_have_the_unit_that_reads_best(mib, text):
    assert in_bytes(mib) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (119, "119 s"), (600, "10 min"), (7200 * 24, "48 h")])
def test_times_have_the_unit_that_reads_best(seconds, text):
    assert in_time(seconds) == text


class TestCommand:
    def test_people_read_lines(self):
        told = CliRunner().invoke(cli, ["size", "--messages", "1000000"])
        assert told.exit_code == 0
        assert "workers, one core each                 2\n" in told.output

    def test_machines_read_what_was_computed(self):
        arguments = ["--messages", "5000000", "--store", "memory", "--events", "2", "--retention", "7", "--json"]
        told = CliRunner().invoke(cli, ["size", *arguments])
        load = Load(5_000_000, store="memory", events_a_message=2.0, retention_days=7.0)
        assert json.loads(told.output) == size_of(load)._asdict()

    def test_messages_are_asked_for(self):
        assert CliRunner().invoke(cli, ["size"]).exit_code == 2
