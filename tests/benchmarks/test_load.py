"""What the benchmarks publish."""

from collections import Counter, defaultdict
from datetime import datetime, timezone
from itertools import islice

from load import TRAFFIC, keyed_events, keyed_payloads, named
from rows import placed

from processor.providers import ADAPTERS, decode_payload, read
from processor.providers.adapter import Context
from processor.wire.events import decode_event

CONTEXT = Context(datetime(2026, 11, 29, tzinfo=timezone.utc))


def test_each_payload_is_one_event_of_the_message_that_its_key_names():
    statuses = defaultdict(list)
    for key, value in keyed_payloads(3_000):
        [event] = read(ADAPTERS["twilio"], decode_payload(value), CONTEXT)
        assert event.message_id.encode() == key
        statuses[key].append(event.status.value)
    ends = Counter(tuple(each) for each in statuses.values())
    begin = "taken_into_account", "sent"
    assert ends == {(*begin, "received_on_mobile"): 2_700, (*begin, "failed"): 300}


def test_a_load_has_enough_records_and_names_of_its_own():
    for traffic in TRAFFIC.values():
        found = list(islice(traffic.records(1_000, "load"), 3_000))
        assert len(found) == 3_000
        assert all(key.startswith(b"load-") for key, _ in found)


def test_events_of_renamed_messages_are_theirs():
    for key, value in named(keyed_events(100), lambda number: f"other-{number + 7}"):
        event, _, _ = decode_event(value, None)
        assert event.message_id.encode() == key
        assert key.startswith(b"other-")


def test_a_round_brings_new_messages_and_old_ones_from_all_over_the_store():
    count, messages = 100_000, 1_000
    turns = [[placed(count, messages, number)(message) for message in range(messages)] for number in range(3)]
    names = [name for turn in turns for name in turn]
    assert len(set(names)) == len(names)
    numbers = [int(name[2:]) for name in names]
    old = [number for number in numbers if number < count]
    assert len(old) == len(names) / 10
    assert min(old) < count / 10
    assert max(old) > count * 9 / 10
    assert min(number for number in numbers if number >= count) == count + 1
