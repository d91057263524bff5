"""What adapters recall across payloads helps, is bounded, and is never needed."""

import csv
import io

import pytest

from processor.cli.lines import payloads_of
from processor.domain.event import Event
from processor.providers import ADAPTERS, Memory, read
from processor.providers.adapter import NoStatus

QUEUE_ID = "4F9D195432C"
CLEANUP = f"{QUEUE_ID}: message-id=<m1@mail.example.com>"
DEFERRED = (
    f"{QUEUE_ID}: to=<anna@example.org>, relay=none, delay=1, delays=1/0/0/0, dsn=4.4.1, status=deferred (timed out)"
)
SENT = DEFERRED.replace("dsn=4.4.1, status=deferred (timed out)", "dsn=2.0.0, status=sent (250 2.0.0 Ok)")
EXPIRED = f"{QUEUE_ID}: from=<bounce@mail.example.com>, status=expired, returned to sender"


def events(context, *lines):
    found = [finding for line in lines for finding in read("postfix", line, context)]
    return [(event.status.value, event.message_id, event.recipient) for event in found if isinstance(event, Event)]


def test_what_was_kept_is_recalled_until_forgotten():
    memory = Memory()
    assert memory.recall("a") == ()
    memory.keep("a", ("1",))
    memory.keep("a", ("2", "3"))
    assert memory.recall("a") == ("2", "3")
    memory.forget("a")
    memory.forget("a")
    assert memory.recall("a") == ()


def test_the_oldest_is_forgotten_first():
    memory = Memory(size=5_000)
    for number in range(1_000):
        memory.keep(str(number), ("x" * 100,))
    kept = [number for number in range(1_000) if memory.recall(str(number))]
    assert kept == list(range(1_000 - len(kept), 1_000))
    assert 5 <= len(kept) <= 20


def test_what_is_larger_than_the_memory_is_not_kept():
    memory = Memory(size=5_000)
    memory.keep("huge", ("x" * 10_000,))
    assert memory.recall("huge") == ()
    memory.keep("small", ("x",))
    assert memory.recall("small") == ("x",)


def test_postfix_joins_lines_of_several_payloads(context):
    remembering = context._replace(memory=Memory())
    own = "m1@mail.example.com:anna@example.org"
    assert events(remembering, CLEANUP, DEFERRED, EXPIRED) == [
        ("taken_into_account", own, "anna@example.org"),
        ("failed", own, "anna@example.org"),
    ]


def test_postfix_is_right_without_memory(context):
    assert events(context, CLEANUP, DEFERRED, EXPIRED) == [
        ("taken_into_account", f"postfix:{QUEUE_ID}:anna@example.org", "anna@example.org"),
        ("failed", f"postfix:{QUEUE_ID}", None),
    ]


@pytest.mark.parametrize("again", [f"{QUEUE_ID}: removed", f"{QUEUE_ID}: client=app1[192.0.2.5]"])
def test_a_queue_id_that_is_used_again_is_another_message(again, context):
    remembering = context._replace(memory=Memory())
    assert events(remembering, CLEANUP, DEFERRED, again, SENT) == [
        ("taken_into_account", "m1@mail.example.com:anna@example.org", "anna@example.org"),
        ("sent", f"postfix:{QUEUE_ID}:anna@example.org", "anna@example.org"),
    ]


def test_reading_a_payload_again_gives_the_same_events(context):
    remembering = context._replace(memory=Memory())
    once = events(remembering, f"{CLEANUP}\n{DEFERRED}\n{DEFERRED}\n{EXPIRED}")
    assert events(remembering, f"{CLEANUP}\n{DEFERRED}\n{DEFERRED}\n{EXPIRED}") == once


def test_any_number_of_recipients_is_bounded(context):
    remembering = context._replace(memory=Memory())
    lines = [DEFERRED.replace("anna", f"user{number}") for number in range(1_100)]
    assert len(events(remembering, *lines)) == 1_100
    assert len(events(remembering, EXPIRED)) == 1_000


def test_a_file_with_a_header_becomes_payloads_that_begin_with_it(context):
    sheet = io.StringIO(newline="")
    csv.writer(sheet).writerows([("type", "timeLogged", "rcpt", "jobId"), ("d", "1762502400", "anna@example.org", "7")])
    header, row = sheet.getvalue().encode().split()
    payloads = list(payloads_of([header, row, header, row], ADAPTERS["powermta"].is_header))
    assert payloads == [header + b"\n" + row] * 2
    (event,) = read("powermta", payloads[0].decode(), context)
    assert event.message_id == "powermta:7:anna@example.org"
    assert list(payloads_of([header, row], ADAPTERS["kumomta"].is_header)) == [header, row]


def test_lines_that_tell_of_no_delivery_are_no_status(context):
    assert read("postfix", CLEANUP, context) == [NoStatus("a line about no delivery")]


def test_firetext_gave_up_what_was_pending_and_fails_without_a_code(context):
    remembering = context._replace(memory=Memory())
    failed = "mobile=447700900123&status=1&reference=r1"
    assert read("firetext", failed, context)[0].reason.permanence == "permanent"
    read("firetext", "mobile=447700900123&status=2&reference=r1", remembering)
    assert read("firetext", failed, remembering)[0].reason.permanence == "gave_up"
    assert read("firetext", failed + "&code=101", remembering)[0].reason.permanence == "permanent"
    assert read("firetext", failed.replace("r1", "r2"), remembering)[0].reason.permanence == "permanent"
    # One request has several recipients, and one reference.
    assert read("firetext", failed.replace("0123", "0124"), remembering)[0].reason.permanence == "permanent"


def test_postfix_names_a_recipient_as_it_was_addressed_before_a_content_filter(context):
    head = "2025-11-20T11:12:41Z mx1 postfix/smtp"
    to_filter = (
        f"{head}[1]: 3A3D26C44CC: to=<anna.real@example.com>, orig_to=<anna@example.com>, "
        "relay=127.0.0.1[127.0.0.1]:10024, delay=1, dsn=2.0.0, status=sent "
        "(250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4F9D195432C)"
    )
    from_filter = (
        f"{head}[2]: 4F9D195432C: to=<anna.real@example.com>, relay=mx.example.com[203.0.113.5]:25, delay=1, "
        "dsn=2.0.0, status=sent (250 OK)"
    )
    remembering = context._replace(memory=Memory())
    assert [read("postfix", line, remembering)[0].recipient for line in (to_filter, from_filter)] == [
        "anna@example.com"
    ] * 2
    assert read("postfix", from_filter, context)[0].recipient == "anna.real@example.com"
