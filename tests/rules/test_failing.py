"""What the page calls unusual failures is what the alerts call so: both judge the same series alike."""

import subprocess
from typing import NamedTuple

import pytest
import yaml

from processor.watch.failing import Ended, is_high, is_storm
from tests.rules.shipped import ALERTS, PROMETHEUS
from tests.tools import require


class Minute(NamedTuple):
    """What ends in one minute."""

    success: int
    failed: int


class Case(NamedTuple):
    """How messages of one provider end in a day, in most of the hour after it, and in the last ten minutes of that."""

    past: Minute
    hour: Minute
    minutes: Minute
    is_storm: bool
    is_high: bool


CASES = {
    "no_past_and_few_fail": Case(Minute(0, 0), Minute(90, 10), Minute(90, 10), False, False),
    "no_past_and_a_third_fails": Case(Minute(0, 0), Minute(90, 10), Minute(60, 40), True, False),
    "no_past_and_a_third_of_few": Case(Minute(0, 0), Minute(3, 0), Minute(6, 4), False, False),
    "as_ever": Case(Minute(97, 3), Minute(97, 3), Minute(97, 3), False, False),
    "more_all_the_hour": Case(Minute(97, 3), Minute(80, 20), Minute(80, 20), False, True),
    "more_and_still_little": Case(Minute(999, 1), Minute(960, 40), Minute(960, 40), False, False),
    "more_of_few": Case(Minute(97, 3), Minute(4, 1), Minute(4, 1), False, False),
    "not_three_times_as_many": Case(Minute(90, 10), Minute(75, 25), Minute(75, 25), False, False),
    "a_storm_that_has_just_begun": Case(Minute(97, 3), Minute(97, 3), Minute(20, 80), True, True),
    "a_storm_after_an_hour": Case(Minute(97, 3), Minute(50, 50), Minute(50, 50), True, True),
    "a_storm_that_is_over": Case(Minute(97, 3), Minute(50, 50), Minute(97, 3), False, True),
    "half_always_fails": Case(Minute(50, 50), Minute(50, 50), Minute(40, 60), False, False),
    "a_tenth_always_fails_and_now_a_half": Case(Minute(90, 10), Minute(90, 10), Minute(50, 50), True, False),
}

_DAY, _HOUR, _TEN = 1_440, 50, 10


def ended(*parts: tuple[Minute, int]) -> Ended:
    """Return what ends in so many minutes each."""
    messages = sum((minute.success + minute.failed) * number for minute, number in parts)
    return Ended(messages, sum(minute.failed * number for minute, number in parts))


@pytest.mark.parametrize("name", CASES)
def test_the_page_calls_failures_unusual(name):
    case = CASES[name]
    past = ended((case.past, _DAY))
    assert is_storm(ended((case.minutes, _TEN)), past) is case.is_storm
    assert is_high(ended((case.hour, _HOUR), (case.minutes, _TEN)), past) is case.is_high


def series(name, case):
    """Write what the case counts, a sample for each of five minutes; a provider that is new begins with its first."""
    for outcome in ("success", "failed"):
        per = [5 * getattr(part, outcome) for part in (case.past, case.hour, case.minutes)]
        start = per[0] * 288
        before = f"0+{per[0]}x288" if sum(case.past) else "_x287 0"
        values = f"{before} {start + per[1]}+{per[1]}x9 {start + 10 * per[1] + per[2]}+{per[2]}x1"
        labels = f'job="{name}",instance="a",channel="email",provider="ses",outcome="{outcome}"'
        yield {"series": f"delivery_outcomes_total{{{labels}}}", "values": values}


def expected(name, alert, fires):
    [expression] = [each["expr"] for each in ALERTS if each["alert"] == alert]
    of_case = f'count by (job) (delivery_outcomes_total{{job="{name}"}})'
    return {
        "expr": f"count(({expression}) and on (job) {of_case}) or vector(0)",
        "eval_time": "25h",
        "exp_samples": [{"labels": "{}", "value": int(fires)}],
    }


def test_the_alerts_judge_the_same_series_alike(tmp_path):
    test = {
        "interval": "5m",
        "input_series": [each for name, case in CASES.items() for each in series(name, case)],
        "promql_expr_test": [
            each
            for name, case in CASES.items()
            for each in (
                expected(name, "DeliveryBounceStorm", case.is_storm),
                expected(name, "DeliveryFailureRatioHigh", case.is_high),
            )
        ],
    }
    path = tmp_path / "failing.yml"
    rules = [str(PROMETHEUS / "rules" / name) for name in ("recording.yml", "symptoms.yml")]
    path.write_text(yaml.safe_dump({"rule_files": rules, "evaluation_interval": "5m", "tests": [test]}), "utf-8")
    command = [require("promtool", "prometheus"), "test", "rules", str(path)]
    tested = subprocess.run(command, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr
