"""The topics are what docs and other systems rely on: names, keys and how long they keep what."""

import re

import pytest

from processor.settings import FIELDS, Settings
from processor.wire.topics import (
    ADDRESSES,
    CONTROL,
    CORRELATIONS,
    COUNTS,
    DEAD,
    DELIVERIES,
    ERASURES,
    EVENTS,
    HISTORY,
    INPUT_MAX_BYTES,
    LINKS,
    MESSAGES,
    MTA,
    OUTPUT_MAX_BYTES,
    REJECTED,
    SETTLED,
    SMS,
    TOPICS,
)

WEEK_MS = 7 * 24 * 60 * 60 * 1000


def test_names():
    assert [Settings().topic_prefix + topic.name for topic in TOPICS] == [
        "delivery.mta.v1",
        "delivery.sms.v1",
        "delivery.links.v1",
        "delivery.receipts.v1",
        "delivery.correlations.v1",
        "delivery.events.v1",
        "delivery.control.v1",
        "delivery.deliveries.v1",
        "delivery.erasures.v1",
        "delivery.messages.v1",
        "delivery.counts.v1",
        "delivery.history.v1",
        "delivery.recipients.v1",
        "delivery.addresses.v1",
        "delivery.rejected.v1",
        "delivery.dead.v1",
        "delivery.settled.v1",
        "delivery.audit.v1",
    ]


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_name_is_a_lower_case_word_and_a_version(topic):
    # No dots and underscores mixed: Kafka's own metrics take them for the same.
    assert re.fullmatch(r"[a-z]+\.v[0-9]+", topic.name)


def test_the_longest_prefix_leaves_room_for_every_name():
    longest = FIELDS["topic_prefix"].parse("a" * 200)
    assert all(len(longest + topic.name) <= 249 for topic in TOPICS)


def test_what_keeps_the_last_value_of_each_key_is_compacted():
    compacted = {
        CORRELATIONS.name, CONTROL.name, DELIVERIES.name, ERASURES.name, MESSAGES.name, COUNTS.name, HISTORY.name,
        ADDRESSES.name,
    }  # fmt: skip
    assert {topic.name for topic in TOPICS if topic.is_compacted} == compacted


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_topic_is_either_compacted_or_kept_for_a_time(topic):
    assert ("retention.ms" in topic.config) is not topic.is_compacted
    # Of links and settled dead letters the last of each key is kept, and that for a time.
    is_both = topic.name in {LINKS.name, SETTLED.name}
    assert topic.config["cleanup.policy"] in ({"compact,delete"} if is_both else {"compact", "delete"})


def test_what_became_of_a_dead_letter_is_remembered_for_longer_than_the_letter():
    # A segment is removed as a whole, a week after its first record at the latest.
    assert int(SETTLED.config["retention.ms"]) > int(DEAD.config["retention.ms"]) + WEEK_MS


@pytest.mark.parametrize("topic", [MESSAGES, CONTROL], ids=lambda topic: topic.name)
def test_every_change_of_a_message_and_every_control_record_can_be_read_for_a_week(topic):
    assert int(topic.config["min.compaction.lag.ms"]) == WEEK_MS


@pytest.mark.parametrize("topic", [MESSAGES, CORRELATIONS], ids=lambda topic: topic.name)
def test_what_was_erased_of_a_person_leaves_the_disks_in_two_weeks(topic):
    assert int(topic.config["max.compaction.lag.ms"]) == 2 * WEEK_MS


@pytest.mark.parametrize("topic", [REJECTED, DEAD], ids=lambda topic: topic.name)
def test_what_people_must_look_into_outlives_what_it_came_from(topic):
    assert int(topic.config["retention.ms"]) > int(EVENTS.config["retention.ms"]) == WEEK_MS


@pytest.mark.parametrize("topic", [MTA, SMS, EVENTS], ids=lambda topic: topic.name)
def test_a_record_that_is_too_large_for_us_still_reaches_us(topic):
    largest_limit = 3_500_000
    assert FIELDS["max_record_bytes"].parse(str(largest_limit)) == largest_limit
    assert int(topic.config["max.message.bytes"]) == INPUT_MAX_BYTES > largest_limit


@pytest.mark.parametrize("topic", [REJECTED, DEAD], ids=lambda topic: topic.name)
def test_a_record_fits_where_it_is_put_aside_with_what_we_add(topic):
    assert int(topic.config["max.message.bytes"]) == OUTPUT_MAX_BYTES > INPUT_MAX_BYTES + 64 * 1024


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_topic_tells_what_its_keys_and_values_are(topic):
    assert topic.key
    assert topic.value


def test_values_of_settings_are_text_as_kafka_wants_them():
    assert all(isinstance(value, str) for topic in TOPICS for value in topic.config.values())
