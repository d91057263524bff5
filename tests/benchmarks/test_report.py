"""The report of a run, and the sections of the docs that follow from it."""

import json
from pathlib import Path

import pytest
import report

ROOT = Path(__file__).resolve().parent.parent.parent
ABOUT = {
    "date": "2026-11-29 20:00 UTC",
    "commit": "abc1234",
    "python": "3.11.7",
    "system": "Linux x86_64",
    "cores": 2,
    "load": "0.1 before it began",
    "split": "the contender has a core to itself",
    "kafka": "4.3.0",
    "minutes": 12.0,
    "rounds": {"throughput": 2},
    "is_whole": True,
}


def folded(contender, number, speed, **more):
    row = {"contender": contender, "partitions": 8, "round": number, "events_per_second": speed, "window_events": 100}
    return row | {"windows": [speed // 2, speed, speed], "warm_events": 100, "drift": 1.02, "others_percent": 1} | more


RESULTS = {
    "about": ABOUT,
    "tables": {
        "throughput": [
            folded("ours-rocksdb", 0, 40_000),
            folded("streams-rocksdb-1", 0, 20_000),
            folded("streams-rocksdb-1", 1, 30_000, others_percent=7),
            folded("ours-rocksdb", 1, 60_000),
            {"contender": "quix", "partitions": 8, "round": 0, "failure": "UnavailableError: pip cannot install it"},
        ]
    },
}


def test_a_line_joins_the_rounds_of_a_contender():
    text = report.figures(RESULTS)
    [line] = [line for line in text.splitlines() if line.startswith("| streams-rocksdb-1 | 8 | 24,495 (")]
    assert line.endswith("| 7 |")


def test_who_failed_is_named_and_the_others_are_there():
    text = report.figures(RESULTS)
    assert "- Failed: contender quix, partitions 8: UnavailableError: pip cannot install it\n" in text
    assert "| ours-rocksdb | 8 |" in text


def test_ratios_are_those_of_paired_rounds():
    text = report.figures(RESULTS)
    assert "| events/s: ours with RocksDB, to Kafka Streams with RocksDB | 2 (2 - 2) x |" in text


def test_it_shows_how_contenders_got_warm():
    assert "| ours-rocksdb | 8 | 25 | 50 50 | 1.02 (1.02 - 1.02) | yes |" in report.figures(RESULTS)


def test_a_window_that_still_gets_faster_is_not_flat():
    rows = [folded("streams-rocksdb-1", 0, 20_000, drift=1.3)]
    assert "| 1.30 | no |" in report.figures({"about": ABOUT, "tables": {"throughput": rows}})


def test_goals_have_their_verdicts():
    text = report.goals(RESULTS)
    assert (
        "| events/s, to Kafka Streams with RocksDB | >= 1.3 x | 2 (2 - 2) x | reached, 54% better |"
        in text.splitlines()
    )
    assert "not measured" in text


def test_a_run_that_was_interrupted_says_so():
    assert "interrupted" not in report.figures(RESULTS)
    assert "interrupted" in report.figures({"about": {**ABOUT, "is_whole": False}, "tables": {}})


def test_what_was_written_is_read_again(tmp_path):
    report.write(tmp_path / "results", RESULTS)
    assert report.read(tmp_path / "results") == RESULTS
    assert (tmp_path / "results/results.md").read_text() == report.markdown(RESULTS)
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["results.json", "results.md"]


def test_only_what_is_between_the_markers_is_written_anew():
    page = (
        "# Performance\n\n<!-- benchmark figures -->\nold\n<!-- /benchmark figures -->\n\nkept\n\n"
        "<!-- benchmark goals -->\nold\n<!-- /benchmark goals -->\n\nkept, too\n"
    )
    renewed = report.renew(page, RESULTS)
    assert "old" not in renewed
    assert "kept\n" in renewed
    assert renewed.endswith("<!-- /benchmark goals -->\n\nkept, too\n")
    assert report.renew(renewed, RESULTS) == renewed


def test_a_page_without_markers_is_not_written():
    with pytest.raises(LookupError, match="benchmark figures"):
        report.renew("# Performance\n", RESULTS)


def test_the_page_about_performance_has_the_markers():
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    assert "ours-rocksdb" in report.renew(page, RESULTS)


def test_results_are_plain_json(tmp_path):
    report.write(tmp_path, RESULTS)
    assert json.loads((tmp_path / "results.json").read_text())["about"]["rounds"] == {"throughput": 2}
