"""What may follow what: the code's tables are those of the contract (conftest.py), and hang together."""

import pytest

from processor.domain.status import DEFINITIONS, Channel, Permanence, Status
from processor.domain.transitions import (
    NODE_NAMES,
    NODE_OF_REPORT,
    NODE_PERMANENCE,
    NODE_STATUS,
    REOPENING,
    TRANSITIONS,
    Node,
)

CHANNELS = pytest.mark.parametrize("channel", list(Channel))


def statuses_of(channel):
    return {status for status, definition in DEFINITIONS.items() if channel in definition.channels}


@CHANNELS
def test_the_table_is_that_of_the_contract(contract, channel):
    table = {
        NODE_NAMES[node]: frozenset(NODE_NAMES[after] for after in afters)
        for node, afters in TRANSITIONS[channel].items()
    }
    assert table == contract.tables[channel.value]


def test_there_is_a_table_for_every_channel():
    assert set(TRANSITIONS) == set(Channel)


def test_the_numbers_of_nodes_stand_since_rows_hold_them():
    assert {node.name: node.value for node in Node} == {
        "PENDING": 0,
        "PREPARED": 1,
        "CANCELED": 2,
        "NOT_APPLICABLE": 3,
        "IGNORED": 4,
        "SENT_TO_PROVIDER": 5,
        "TAKEN_INTO_ACCOUNT": 6,
        "SENT": 7,
        "FAILED_GAVE_UP": 8,
        "FAILED": 9,
        "RECEIVED_ON_MOBILE": 10,
    }


def test_ranks_are_those_of_the_contract(contract):
    assert contract.ranks == NODE_NAMES
    assert [node.name.lower() for node in sorted(Node)] == list(contract.ranks)


@CHANNELS
def test_every_status_of_the_channel_is_a_key_even_when_nothing_may_follow(channel):
    assert {NODE_STATUS[node] for node in TRANSITIONS[channel]} == statuses_of(channel)


@CHANNELS
def test_nothing_leads_to_a_node_that_the_channel_lacks(channel):
    table = TRANSITIONS[channel]
    assert frozenset().union(*table.values()) <= set(table)


@CHANNELS
def test_no_node_follows_itself(channel):
    assert not [node for node, afters in TRANSITIONS[channel].items() if node in afters]


@CHANNELS
def test_every_node_but_pending_can_be_reached_from_pending(channel):
    table = TRANSITIONS[channel]
    assert table[Node.PENDING] >= set(table) - {Node.PENDING, Node.PREPARED}
    assert not [node for node, afters in table.items() if Node.PENDING in afters]


def test_mail_has_eight_statuses_and_sms_all_ten():
    assert set(Status) - statuses_of(Channel.EMAIL) == {
        Status.PREPARED,
        Status.SENT_TO_PROVIDER,
        Status.RECEIVED_ON_MOBILE,
    }
    assert statuses_of(Channel.SMS) == set(Status)


def test_what_is_final_has_no_exits():
    final = {channel: {node for node, afters in table.items() if not afters} for channel, table in TRANSITIONS.items()}
    assert final == {
        Channel.EMAIL: {Node.FAILED, Node.IGNORED, Node.NOT_APPLICABLE},
        Channel.SMS: {Node.FAILED, Node.IGNORED, Node.NOT_APPLICABLE, Node.RECEIVED_ON_MOBILE},
    }


def test_sent_is_a_success_that_is_not_final():
    for table in TRANSITIONS.values():
        assert {Node.FAILED, Node.FAILED_GAVE_UP} <= table[Node.SENT]


def test_a_new_attempt_may_take_a_gave_up_failure_where_the_contract_says(contract):
    assert {NODE_NAMES[node] for node in REOPENING} == contract.reopening


def test_a_failure_is_two_nodes_and_every_other_status_is_one():
    for node in Node:
        if node in {Node.FAILED, Node.FAILED_GAVE_UP}:
            assert NODE_STATUS[node] is Status.FAILED
        else:
            assert NODE_STATUS[node].value == NODE_NAMES[node]
    assert NODE_PERMANENCE[Node.FAILED] is Permanence.PERMANENT
    assert NODE_PERMANENCE[Node.FAILED_GAVE_UP] is Permanence.GAVE_UP
    assert [NODE_PERMANENCE[node] for node in Node].count(None) == len(Node) - 2


@CHANNELS
@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("permanence", [None, *Permanence])
def test_the_node_of_a_report(contract, channel, status, permanence):
    name = status.value
    if name == "failed":
        # Without a word on its permanence a failure is final; a transient one breaks the contract.
        expected = {None: "failed", "permanent": "failed", "gave_up": "failed_gave_up", "transient": None}[permanence]
    else:
        expected = name if name in contract.tables[channel.value] else None
    node = NODE_OF_REPORT.get((channel, status, permanence))
    assert (None if node is None else NODE_NAMES[node]) == expected
