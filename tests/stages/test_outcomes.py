"""How messages end is counted by provider: once for each end that they come to."""

import pytest

from processor.domain.traits import Ending
from tests.stages.conftest import event

GAVE_UP = {"reason": {"permanence": "gave_up"}}


def outcomes(desk, provider="ses", channel="email"):
    """Give the numbers that are not 0."""
    value = desk.metrics.registry.get_sample_value
    found = {
        outcome: value("delivery_outcomes_total", {"channel": channel, "provider": provider, "outcome": outcome})
        for outcome in [ending.value for ending in Ending]
    }
    return {outcome: number for outcome, number in found.items() if number}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([("pending", 0), ("taken_into_account", 1)], {}),
        ([("sent", 0)], {"success": 1}),
        ([("sent", 0), ("sent", 0)], {"success": 1}),
        ([("failed", 0)], {"failed": 1}),
        ([("ignored", 0)], {}),
        ([("sent", 0), ("ignored", 1)], {"success": 1}),
        # It bounced after all.
        ([("sent", 0), ("failed", 1)], {"success": 1, "failed": 1}),
        # The end of the first attempt, and of the second.
        ([("failed", 0, GAVE_UP), ("sent", 1, {"attempt": 2})], {"gave_up": 1, "success": 1}),
        ([("failed", 0, GAVE_UP), ("failed", 1, {"attempt": 2, **GAVE_UP})], {"gave_up": 1}),
    ],
)
def test_each_end_counts_once(desk, told, expected):
    desk = desk()
    for status, minute, *more in told:
        desk.chunk(event("m-1", status, minute, provider="ses", **(more[0] if more else {})))
    assert outcomes(desk) == expected


def test_a_text_message_that_was_sent_and_arrived_is_one_success(desk):
    desk = desk()
    for minute, status in enumerate(("sent_to_provider", "sent", "received_on_mobile")):
        desk.chunk(event("m-1", status, minute, provider="twilio", channel="sms"))
    assert outcomes(desk, "twilio", "sms") == {"success": 1}


def test_all_providers_without_an_adapter_are_one(desk):
    desk = desk()
    desk.chunk(event("m-1", "sent", provider="pigeon"), event("m-2", "failed", provider="owl"), event("m-3", "sent"))
    assert outcomes(desk, "other") == {"success": 1, "failed": 1}
    assert outcomes(desk, "none") == {"success": 1}
