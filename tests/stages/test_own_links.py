"""Events of ours tell which message a provider's id is: where the fold says so to the receipts."""

import orjson
import pytest

from tests.stages.conftest import event


@pytest.fixture
def desk(desk):
    """A partition of messages."""
    return desk()


def told(desk):
    """Give what the receipts were told, a message id and a provider's id each."""
    links = [orjson.loads(value) for _, value, _ in desk.written["t.receipts.v1"]]
    return [(link["message_id"], link["provider_message_id"]) for link in links]


def test_the_first_event_that_names_a_provider_s_id_tells_it_and_later_ones_need_not(desk):
    named = {"provider": "ses", "provider_message_id": "S1"}
    desk.chunk(event("m", "pending"), event("m", "taken_into_account", 1, **named), event("m", "sent", 2, **named))
    assert told(desk) == [("m", "S1")]


def test_one_that_comes_again_tells_it_again_for_a_backup_may_lack_the_link(desk):
    first = event("m", "taken_into_account", provider="ses", provider_message_id="S1")
    desk.chunk(first)
    desk.restart()
    desk.chunk(first)
    assert told(desk) == [("m", "S1")] * 2


def test_what_was_read_in_a_payload_tells_nothing(desk):
    desk.chunk(event("m", "sent", provider="ses", provider_message_id="S1", from_payload=True))
    assert told(desk) == []
