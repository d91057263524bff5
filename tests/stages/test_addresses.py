"""What is reported of messages says whether to send to their addresses: all stages, one partition, without a broker."""

from datetime import timedelta

import orjson
import pytest

from processor.domain.status import Channel
from processor.engine.stage import Partitioning
from processor.providers.address_keys import AddressKeys
from processor.stages import stages
from processor.wire.addresses import RELEASES_KEY, decode_address, decode_releases
from processor.wire.releases import RELEASE_HEADERS, ReleaseRecord, encode_release
from tests.stages.line import NAMES, START, Line, Read

SECRET = "a secret that senders know"
PERSON = "person@example.com"


def report(message_id, status, day, category=None, permanence=None, channel="email", **more):
    time = START + timedelta(days=day)
    value = {"time": time.isoformat(), "message_id": message_id, "channel": channel, "status": status, **more}
    if category is not None and "reason" not in more:
        value["reason"] = {"category": category, "permanence": permanence, "code": "5.1.1"}
    return "t.events.v1", Read(0, int(time.timestamp() * 1000), message_id.encode(), orjson.dumps(value))


def bounced(message_id, day, **more):
    return report(message_id, "failed", day, "user_unknown", "permanent", **{"recipient": PERSON, **more})


def arrived(message_id, day, **more):
    return report(message_id, "sent", day, **{"recipient": PERSON, **more})


def deferred(message_id, day, category="unreachable"):
    return report(message_id, "taken_into_account", day, category, "transient", recipient=PERSON)


@pytest.fixture
def line():
    made = Line(addresses_key=SECRET)
    made.now = START + timedelta(days=20)
    return made


def key_of(recipient=PERSON, channel=Channel.EMAIL):
    return AddressKeys(SECRET).key_of(channel, recipient).encode()


def published(line, recipient=PERSON, channel=Channel.EMAIL):
    """Give the last record of an address."""
    found = [each.value for each in line.written["t.addresses.v1"] if each.key == key_of(recipient, channel)]
    return None if not found or found[-1] is None else decode_address(found[-1])


def seen(value):
    return "t.recipients.v1", Read(0, int(START.timestamp() * 1000), None, orjson.dumps(value))


def dead(line):
    return [dict(headers)["delivery.dead.reason"] for *_, headers in line.written["t.dead.v1"]]


def restart(line):
    """Start the stage anew from nothing but its changelog."""
    [declared] = [each for each in stages(line.settings, line.metrics, clock=line.clock) if each.name == "addresses"]
    line.works["t.recipients.v1"].suspended()
    work = declared.start_work(Partitioning("t.recipients.v1", 0, NAMES, "cluster"))
    records = line.written["t.addresses.v1"]
    work.restore([each._replace(offset=offset) for offset, each in enumerate(records)], len(records))
    work.restored()
    line.works["t.recipients.v1"] = work


def release(line, **asked):
    """Have an operator release an address, or errors of a domain between two days."""
    days = {name: START + timedelta(days=asked[name]) for name in ("since", "until") if name in asked}
    record, stamp = ReleaseRecord(line.now, **{**asked, **days}), int(line.now.timestamp() * 1000)
    line.take(("t.control.v1", Read(0, stamp, record.key.encode(), encode_release(record), RELEASE_HEADERS)))


def gauge(line, state):
    labels = {"channel": "email", "condition": state}
    return line.metrics.registry.get_sample_value("delivery_addresses", labels)


def look(line):
    """Have the stage look through its addresses, and do what is due."""
    line.works["t.recipients.v1"].punctuate(is_behind=False)
    line.run()


def test_one_bounce_quarantines_the_address_and_says_why(line):
    line.take(bounced("m1", 1))
    found = published(line)
    assert (found.state.value, found.channel.value, found.domain) == ("quarantined", "email", "example.com")
    assert [(reason.kind, reason.category.value, reason.code) for reason in found.reasons] == [
        ("hard", "user_unknown", "5.1.1")
    ]
    assert PERSON.encode() not in b"".join(
        value or b"" for topic in ("recipients", "addresses") for *_, value, _ in line.written[f"t.{topic}.v1"]
    )


def test_an_address_is_one_however_it_is_written(line):
    line.take(bounced("m1", 1, recipient="Person@Example.com"), arrived("m2", 2, recipient=f"<{PERSON}>"))
    assert published(line).state.value == "valid"


def test_five_deferrals_quarantine_in_any_order_and_however_often_they_come(line):
    reports = [deferred("m1", day) for day in (3, 1, 4, 2, 5)]
    line.take(*reports, *reports[:2])
    assert published(line).state.value == "quarantined"


def test_a_success_that_comes_late_still_clears_only_what_was_before_it(line):
    line.take(arrived("m2", 2), bounced("m1", 1))
    assert published(line).state.value == "valid"
    line.take(bounced("m3", 3))
    assert published(line).state.value == "quarantined"


def test_a_report_counts_for_the_address_that_is_named_later(line):
    line.take(bounced("m1", 1, recipient=None))
    assert published(line) is None
    line.take(report("m1", "taken_into_account", 0, recipient=PERSON))
    assert published(line).state.value == "quarantined"


def test_a_refusal_and_what_the_sender_left_out_count_for_nothing(line):
    line.take(
        report("m1", "failed", 1, "refused", "permanent", recipient=PERSON),
        report("m2", "ignored", 1, "quarantined", recipient=PERSON),
    )
    assert published(line) is None


def test_channels_have_conditions_of_their_own(line):
    number = "+46 70 123 45 67"
    line.take(report("m1", "failed", 1, "user_unknown", "permanent", channel="sms", recipient=number))
    assert published(line, "46701234567", Channel.SMS).state.value == "quarantined"
    assert published(line, "46701234567", Channel.EMAIL) is None


def test_a_repetition_writes_nothing(line):
    line.take(bounced("m1", 1))
    before = len(line.written["t.addresses.v1"])
    line.take(bounced("m1", 1))
    assert len(line.written["t.addresses.v1"]) == before


def test_time_releases_a_full_mailbox(line):
    line.take(*[deferred("m1", day, "mailbox_full") for day in range(5)])
    assert (published(line).state.value, published(line).until) == ("quarantined", "2026-12-27T08:00:00Z")
    line.now = START + timedelta(days=34)
    look(line)
    assert published(line).state.value == "valid"


def test_what_is_valid_is_forgotten_with_its_messages(line):
    line.take(arrived("m1", 1))
    assert published(line).state.value == "valid"
    line.now = START + timedelta(days=32)
    look(line)
    assert published(line) is None


def test_without_a_key_there_is_no_feed():
    line = Line()
    line.take(bounced("m1", 1))
    assert "t.recipients.v1" not in line.written


def test_a_restart_changes_nothing(line):
    line.take(*[deferred("m1", day) for day in range(4)], arrived("m9", 1, recipient="other@example.com"))
    restart(line)
    before = len(line.written["t.addresses.v1"])
    line.take(arrived("m9", 1, recipient="other@example.com"), deferred("m1", 2))
    assert len(line.written["t.addresses.v1"]) == before
    line.take(deferred("m2", 4))
    assert published(line).state.value == "quarantined"


def test_a_window_that_is_released_takes_away_errors_that_were_there_and_such_as_come_later(line):
    line.take(bounced("m1", 1), bounced("m2", 1, recipient="other@example.org"))
    release(line, domain="example.com", since=0, until=2)
    look(line)
    assert published(line) is None
    restart(line)
    line.take(bounced("m3", 1.5))
    assert published(line) is None
    line.take(bounced("m4", 3))
    assert published(line).state.value == "quarantined"
    assert published(line, "other@example.org").state.value == "quarantined"


def test_a_window_is_told_once_and_forgotten_when_no_report_can_lie_in_it(line):
    release(line, domain="example.com", since=0, until=2)
    release(line, domain="example.com", since=0, until=2)
    line.now = START + timedelta(days=40)
    release(line, domain="example.org", since=39, until=40)
    told = [decode_releases(each.value) for each in line.written["t.addresses.v1"] if each.key == RELEASES_KEY]
    assert [[window.domain for window in windows] for windows in told] == [["example.com"], ["example.org"]]


def test_the_gauge_counts_addresses_by_condition_until_the_partition_leaves(line):
    line.take(
        bounced("m1", 1), arrived("m2", 1, recipient="a@example.com"), arrived("m3", 1, recipient="b@example.com")
    )
    look(line)
    assert (gauge(line, "quarantined"), gauge(line, "valid")) == (1, 2)
    line.works["t.recipients.v1"].suspended()
    assert (gauge(line, "quarantined"), gauge(line, "valid")) == (0, 0)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"reached": ["email|" + "0" * 32], "times": []}, b"invalid_event"),
        ({"reached": ["letter|" + "0" * 32], "times": [0]}, b"invalid_event"),
        ({"seen": [["email|person@example.com", [0, 2, "user_unknown", "", None]]]}, b"invalid_event"),
        ({"seen": 1}, b"invalid_event"),
    ],
)
def test_what_is_no_sighting_becomes_a_dead_letter_and_changes_nothing(line, value, reason):
    line.take(seen(value))
    assert dead(line) == [reason]
    assert not line.written["t.addresses.v1"]


def test_an_address_that_cannot_be_read_is_left_as_it_is_and_others_of_its_records_go_on(line):
    line.written["t.addresses.v1"].append(Read(0, 0, key_of(), b"not json"))
    restart(line)
    other, at = key_of("other@example.com").decode(), [0, 2, "user_unknown", "", None]
    mine = key_of().decode()
    line.take(seen({"reached": [mine, other], "times": [0, 0], "seen": [[mine, at], [other, at]]}))
    assert [each.key for each in line.written["t.addresses.v1"]] == [key_of(), other.encode()]
    assert dead(line) == [b"row_unreadable"]
    [letter] = line.written["t.dead.v1"]
    assert orjson.loads(letter.value) == {"reached": [mine], "times": [0], "seen": [[mine, at]]}


def test_the_code_of_a_reason_that_quotes_an_address_is_not_kept(line):
    line.take(bounced("m1", 1, reason={"category": "user_unknown", "permanence": "permanent", "code": PERSON}))
    assert [reason.code for reason in published(line).reasons] == [None]


def test_an_address_that_is_released_counts_from_the_start(line):
    line.take(bounced("m1", 1))
    release(line, address=key_of().decode())
    assert published(line).state.value == "valid"
    line.take(bounced("m1", 1))
    assert published(line).state.value == "valid"
    line.now += timedelta(days=1)
    line.take(bounced("m2", 20.5))
    assert published(line).state.value == "quarantined"


def test_without_a_feed_a_release_is_a_dead_letter():
    line = Line()
    line.now = START + timedelta(days=20)
    release(line, address=key_of().decode())
    assert dead(line) == [b"invalid_control"]


@pytest.mark.parametrize(
    "asked",
    [
        {"domain": "Example.com", "since": 0, "until": 1},
        {"domain": "example.com", "since": 1, "until": 1},
        {"domain": "example.com", "since": 0, "until": 32},
        {"domain": "example.com", "since": 0},
        {"address": "email|" + "0" * 32, "since": 0, "until": 1},
        {"address": "email|" + "0" * 32, "domain": "example.com"},
        {},
    ],
)
def test_what_is_no_release_is_a_dead_letter(line, asked):
    release(line, **asked)
    assert dead(line) == [b"invalid_control"]
    assert not line.written["t.recipients.v1"]


def complaint(address, minute=0, **more):
    time = START + timedelta(minutes=minute)
    value = {"email": address, "event": "spamreport", "sg_message_id": "x", "timestamp": time.timestamp(), **more}
    headers = (("provider", b"sendgrid"),)
    return "t.mta.v1", Read(0, int(START.timestamp() * 1000), None, orjson.dumps([value]), headers)


def test_a_complaint_denylists_its_address_until_it_is_released_and_is_no_event(line):
    line.take(complaint(PERSON), arrived("m1", 1))
    assert (published(line).state.value, published(line).reasons[0].kind) == ("denylisted", "complaint")
    assert [each.key for each in line.written["t.events.v1"]] == [b"m1"]
    release(line, domain="example.com", since=-1, until=2)
    look(line)
    assert published(line).state.value == "denylisted"
    release(line, address=key_of().decode())
    assert published(line).state.value == "valid"


def test_a_complaint_of_a_clock_that_is_ahead_is_of_the_time_at_which_it_came(line):
    line.take(complaint(PERSON, minute=100_000))
    assert published(line).since == "2026-11-23T08:00:00Z"


def test_without_a_feed_a_complaint_says_nothing():
    line = Line()
    line.take(complaint(PERSON))
    assert not line.written["t.dead.v1"]
    assert "t.recipients.v1" not in line.written
