"""What each status counts as: the columns are those of the contract, typed out and read a second time."""

import pytest

from processor.domain.status import DEFINITIONS, Channel, Status
from processor.domain.traits import (
    CANCELABLE,
    ENDING,
    INDICATED,
    IS_COUNTED_BY_REASON,
    IS_HANDED_OVER,
    IS_UNDER_WAY,
    MAY_BE_HELD,
    STATUSES_OF,
    STUCK_AFTER,
    TAKEN,
    TRAITS,
    Ending,
    Indicator,
    SuccessFrom,
)
from processor.domain.transitions import NODE_STATUS, TRANSITIONS, Node

HOUR = 3_600.0

N = Node
FAILURES = {N.FAILED, N.FAILED_GAVE_UP}

COLUMNS = {
    "is_under_way": {N.PENDING, N.PREPARED, N.SENT_TO_PROVIDER, N.TAKEN_INTO_ACCOUNT, N.SENT},
    "is_taken": {N.PREPARED, N.SENT_TO_PROVIDER, N.TAKEN_INTO_ACCOUNT, N.SENT, N.RECEIVED_ON_MOBILE, *FAILURES},
    "may_be_held": {N.PENDING, N.PREPARED},
    "is_handed_over": {N.SENT_TO_PROVIDER, N.TAKEN_INTO_ACCOUNT},
    "is_retried": {N.PENDING, N.SENT_TO_PROVIDER, N.TAKEN_INTO_ACCOUNT},
    "is_counted_by_reason": {N.IGNORED, *FAILURES},
}


def test_every_node_is_a_row():
    assert list(TRAITS) == list(Node)


@pytest.mark.parametrize(("column", "nodes"), COLUMNS.items())
def test_a_column_is_that_of_the_contract(column, nodes):
    assert {node for node, traits in TRAITS.items() if getattr(traits, column)} == nodes


def test_thresholds_are_adobes():
    assert STUCK_AFTER == {
        (Channel.EMAIL, Status.PENDING): HOUR,
        (Channel.EMAIL, Status.TAKEN_INTO_ACCOUNT): 84 * HOUR,
        (Channel.SMS, Status.PENDING): HOUR,
        (Channel.SMS, Status.PREPARED): HOUR,
        (Channel.SMS, Status.SENT_TO_PROVIDER): 72 * HOUR,
        (Channel.SMS, Status.TAKEN_INTO_ACCOUNT): 84 * HOUR,
        (Channel.SMS, Status.SENT): 72 * HOUR,
    }


def test_messages_wait_only_where_their_channel_has_the_status_and_something_may_follow():
    for channel, status in STUCK_AFTER:
        assert channel in DEFINITIONS[status].channels
        assert TRANSITIONS[channel][Node[status.name]]


def test_adobes_indicators():
    assert {
        Indicator.PREPARED: {Status.PREPARED},
        Indicator.SUCCESS: {Status.TAKEN_INTO_ACCOUNT, Status.SENT, Status.RECEIVED_ON_MOBILE},
        Indicator.ERROR: {Status.FAILED},
    } == STATUSES_OF


def test_success_may_begin_when_a_message_is_sent():
    assert INDICATED[SuccessFrom.TAKEN] == STATUSES_OF
    assert INDICATED[SuccessFrom.SENT] == {
        Indicator.PREPARED: {Status.PREPARED, Status.TAKEN_INTO_ACCOUNT},
        Indicator.SUCCESS: {Status.SENT, Status.RECEIVED_ON_MOBILE},
        Indicator.ERROR: {Status.FAILED},
    }


def test_what_a_provider_may_answer():
    assert {node: ending for node, ending in zip(Node, ENDING, strict=True) if ending is not None} == {
        Node.SENT: Ending.SUCCESS,
        Node.RECEIVED_ON_MOBILE: Ending.SUCCESS,
        Node.FAILED: Ending.FAILED,
        Node.FAILED_GAVE_UP: Ending.GAVE_UP,
    }


def test_nobody_waits_for_an_answer_that_has_come():
    assert not [node for node in Node if IS_HANDED_OVER[node] and ENDING[node] is not None]


def test_a_cancel_stops_what_was_not_sent():
    assert {
        Channel.EMAIL: {Node.PENDING, Node.TAKEN_INTO_ACCOUNT},
        Channel.SMS: {Node.PENDING, Node.PREPARED, Node.SENT_TO_PROVIDER, Node.TAKEN_INTO_ACCOUNT},
    } == CANCELABLE


@pytest.mark.parametrize("column", ["indicator", "is_taken"])
def test_nodes_of_one_status_do_not_differ_where_statuses_are_counted(column):
    for status in Status:
        assert len({getattr(TRAITS[node], column) for node in Node if NODE_STATUS[node] is status}) == 1
    assert {NODE_STATUS[node] for node in COLUMNS["is_taken"]} == TAKEN


@pytest.mark.parametrize(
    ("by_rank", "column"),
    [
        (IS_UNDER_WAY, "is_under_way"),
        (MAY_BE_HELD, "may_be_held"),
        (IS_HANDED_OVER, "is_handed_over"),
        (IS_COUNTED_BY_REASON, "is_counted_by_reason"),
        (ENDING, "ending"),
    ],
)
def test_a_column_by_rank_is_that_column(by_rank, column):
    assert list(by_rank) == [getattr(TRAITS[node], column) for node in Node]
