"""`read` never raises, whatever the payload, and one bad element costs only itself."""

import copy
import json
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor import providers
from processor.domain.event import Event, node_of
from processor.providers import ADAPTERS, decode_payload, outcome, read
from processor.providers.adapter import UNREADABLE_MAX, Adapter, NoStatus, Unknown, Unreadable
from processor.providers.fields import CONTAINERS_MAX, TooManyError
from tests.examples import examples

PAYLOADS = {
    name: [
        json.loads(line)["raw"]
        for line in (Path(__file__).parent / "samples" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    for name in ADAPTERS
}

#: Any JSON value, with texts and numbers that break naive readers.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["", " ", "\0", "2025-11-07T08:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "id:1 stat:X", "="]
    )
    | st.sampled_from([10**400, -1, 2**63, 1e308, -0.0, 9_999_999_999_999]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(value, path=()):
    """Give the path of everything inside a JSON value."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def put(value, path, replacement):
    if not path:
        return replacement
    value[path[0]] = put(value[path[0]], path[1:], replacement)
    return value


def take(value, path):
    if not path:
        return None
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return value


@st.composite
def mutated(draw, payload):
    """Give a payload in which a few things are lost, cut, or of another type."""
    payload = copy.deepcopy(payload)
    if isinstance(payload, str):
        start = draw(st.integers(0, len(payload)))
        end = draw(st.integers(start, len(payload)))
        return payload[:start] + draw(st.text(max_size=10)) + payload[end:]
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(sorted(places(payload), key=repr)))
        payload = take(payload, path) if draw(st.booleans()) else put(payload, path, draw(JSON))
    return payload


def check(provider, payload, context):
    """Read a payload, and say that all that comes of it is well-formed."""
    findings = read(provider, payload, context)
    assert findings
    for finding in findings:
        if isinstance(finding, Event):
            assert node_of(finding) is not None
            assert 1 <= finding.attempt <= 99
            assert finding.message_id
            assert finding.time.tzinfo is not None
            assert all(
                field is None or isinstance(field, str) for field in (finding.recipient, finding.provider_message_id)
            )
            assert finding.reason is None or len(finding.reason.text or "") <= 500
            assert "\0" not in ((finding.reason and finding.reason.text) or "")
        elif isinstance(finding, Unreadable):
            assert finding.detail
        else:
            assert isinstance(finding, NoStatus | Unknown)
            assert isinstance(finding.native, str)
            assert len(finding.native) <= 1_100
    word, detail = outcome(findings)
    assert word in ("events", "no_status", "unknown", "dead")
    assert detail or word == "events"
    return findings


FUZZ = settings(
    deadline=None,
    max_examples=examples(100),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("provider", ADAPTERS)
@FUZZ
@given(data=st.data())
def test_a_mutated_payload_never_raises(provider, data, context):
    payload = data.draw(mutated(data.draw(st.sampled_from(PAYLOADS[provider]))))
    check(provider, payload, context)


@pytest.mark.parametrize("provider", ADAPTERS)
@FUZZ
@given(payload=JSON)
def test_any_json_never_raises(provider, payload, context):
    check(provider, payload, context)


@pytest.mark.parametrize("provider", ADAPTERS)
@FUZZ
@given(data=st.data())
def test_a_truncated_text_never_raises(provider, data, context):
    raw = data.draw(st.sampled_from(PAYLOADS[provider]))
    text = raw if isinstance(raw, str) else json.dumps(raw)
    cut = data.draw(st.integers(0, len(text)))
    check(provider, decode_payload(text[:cut].encode()), context)


@pytest.mark.parametrize("provider", ADAPTERS)
@FUZZ
@given(text=st.binary(max_size=200))
def test_any_bytes_are_a_payload_or_a_value_error(provider, text, context):
    try:
        payload = decode_payload(text)
    except ValueError:
        return
    check(provider, payload, context)


@pytest.mark.parametrize("provider", ADAPTERS)
@pytest.mark.parametrize("size", [1_000, pytest.param(2_000_000, marks=pytest.mark.slow)])
def test_a_huge_text_anywhere_is_quick_and_bounded(provider, size, context):
    for filler in ("5.1.1 ", "id:1 stat:", "a=b&", "\0", "{", "<", "ä"):
        huge = filler * (size // len(filler))
        for payload in PAYLOADS[provider][:6]:
            started = time.process_time()
            check(provider, huge, context)
            if isinstance(payload, dict):
                for path in list(places(payload))[1:]:
                    findings = check(provider, put(copy.deepcopy(payload), path, huge), context)
                    # Nothing of a size that the payload chose goes on, but the dead letter that quotes it.
                    assert all(sys.getsizeof(finding.message_id) < 4_000 for finding in findings if is_event(finding))
            assert time.process_time() - started < 60


@pytest.mark.parametrize("provider", ADAPTERS)
@pytest.mark.slow
def test_deep_nesting_never_raises(provider, context):
    nested = None
    for _ in range(100_000):
        nested = [nested]
    check(provider, nested, context)
    check(provider, {"Records": nested, "data": nested}, context)
    check(provider, decode_payload(b"[" * CONTAINERS_MAX), context)
    deep = decode_payload(b'{"a":' * 900 + b"1" + b"}" * 900)
    for payload in PAYLOADS[provider][: examples(len(PAYLOADS[provider]))]:
        if isinstance(payload, dict):
            for key in payload:
                check(provider, {**payload, key: deep}, context)
                check(provider, [{**payload, key: deep}], context)
            check(provider, [deep, payload], context)


@pytest.mark.parametrize("provider", ADAPTERS)
def test_one_bad_element_of_a_batch_is_one_unreadable(provider, context):
    good = next(payload for payload in PAYLOADS[provider] if isinstance(payload, dict))
    bad = {"this is": "no report"}
    findings = read(provider, [good, bad, good, 7], context)
    assert [type(finding) for finding in findings] == [Event, Unreadable, Event, Unreadable]
    assert [finding.element for finding in findings if isinstance(finding, Unreadable)] == [bad, 7]
    assert findings[0] == findings[2] == read(provider, good, context)[0]
    word, detail = outcome(findings)
    assert word == "events"
    assert f"not what {provider} sends" in detail


@pytest.mark.parametrize("provider", ADAPTERS)
def test_of_very_many_bad_elements_the_rest_is_left_unread(provider, context):
    """A megabyte of them would keep a worker busy for seconds; what is unread is told, and is in the dead letter."""
    bad = [{"this is": "no report"}] * UNREADABLE_MAX
    good = next(payload for payload in PAYLOADS[provider] if isinstance(payload, dict))
    findings = read(provider, [good, *bad, good, *bad], context)
    assert [type(finding) for finding in findings] == [Event] + [Unreadable] * (UNREADABLE_MAX + 1)
    assert findings[-1].element is None
    assert f"{UNREADABLE_MAX} of its elements cannot be read" in findings[-1].detail
    assert len(read(provider, [*bad[1:], good], context)) == UNREADABLE_MAX


def test_one_bad_recipient_is_one_unreadable(context):
    record = {
        "type": "Reception",
        "id": "a1",
        "recipient": ["anna@example.org", None, "x" * 1000],
        "timestamp": 1762502400,
    }
    first, second, third = read("kumomta", record, context)
    assert isinstance(first, Event)
    assert first.message_id == "kumomta:a1:anna@example.org"
    assert isinstance(second, Unreadable)
    assert isinstance(third, Unreadable)


MAIL = {"messageId": "m", "timestamp": "2026-01-01T00:00:00Z", "destination": ["a@example.org", "b@example.org"]}


@pytest.mark.parametrize(
    ("provider", "payload"),
    [
        ("kumomta", {"type": "Reception", "id": "a1", "recipient": ["anna@example.org", "@"], "timestamp": 1762502400}),
        (
            "ses",
            {
                "eventType": "Bounce",
                "mail": MAIL,
                "bounce": {"bounceType": "Permanent", "bouncedRecipients": ["@"] * 2},
            },
        ),
        ("aws_eum_sms", {"logEvents": ["@", "@"]}),
    ],
)
def test_a_part_of_an_element_that_nests_too_deep_is_unreadable(provider, payload, context):
    deep = '{"a":' * 900 + "1" + "}" * 900
    findings = read(provider, decode_payload(json.dumps(payload).replace('"@"', deep).encode()), context)
    assert any(isinstance(finding, Unreadable) for finding in findings)


@pytest.mark.parametrize("provider", ADAPTERS)
def test_of_very_many_unknown_elements_the_rest_is_left_unread(provider, context, monkeypatch):
    monkeypatch.setattr(providers, "UNKNOWN_MAX", 3)
    adapter = ADAPTERS[provider]._replace(read=lambda *_: [Unknown("teleported")])
    findings = read(adapter, [{}] * 5, context)
    assert findings[:3] == [Unknown("teleported", {})] * 3
    assert [type(finding) for finding in findings[3:]] == [Unreadable]


def test_a_bad_recipient_is_told_with_its_whole_record(context):
    record = {"type": "Reception", "id": "a1", "recipient": ["anna@example.org", None], "timestamp": 1762502400}
    findings = read("kumomta", [record, {"type": "Teleport"}], context)
    assert [finding.element for finding in findings[1:]] == [record, {"type": "Teleport"}]


def test_of_very_many_bad_recipients_the_rest_is_left_unread(context):
    recipients = ["anna@example.org", *[None] * UNREADABLE_MAX, "bert@example.org", None]
    record = {"type": "Reception", "id": "a1", "recipient": recipients, "timestamp": 1762502400}
    findings = read("kumomta", [record, record], context)
    assert [type(finding) for finding in findings] == [Event] + [Unreadable] * (UNREADABLE_MAX + 2)
    assert "those behind them were not looked at" in findings[-2].detail


@pytest.mark.parametrize(
    "broken",
    [
        rb'"cut \ud83d"',  # half of an emoji, as an escape
        rb'"\udc00\ud83d\udc4d\ud83dx"',
        b'"latin-1: \xe5"',
    ],
)
def test_a_text_that_is_cut_costs_its_element_and_not_the_batch(broken, context):
    good = b'{"email":"a@g.example","event":"delivered","sg_message_id":"x.filter1","timestamp":1633590141}'
    opened = b'{"email":"b@g.example","event":"open","subject":%s,"sg_message_id":"y.filter1","timestamp":1633590142}'
    bounced = b'{"email":%s,"event":"delivered","sg_message_id":"z.filter1","timestamp":1633590141}'
    payload = decode_payload(b"[%s,%s,%s]" % (good, opened % broken, bounced % broken))
    findings = read("sendgrid", payload, context)
    assert [type(finding) for finding in findings] == [Event, NoStatus, Unreadable]
    assert "a character that is none" in findings[2].detail


def test_whole_pairs_and_escaped_backslashes_stay_as_they_are():
    assert decode_payload(rb'["\ud83d\udc4d", "\\ud83d", "\ud83d"]') == ["\N{THUMBS UP SIGN}", r"\ud83d", "\ufffd"]


def test_an_empty_batch_is_dead(context):
    assert outcome(read("kumomta", [], context)) == ("dead", "not what kumomta sends: an empty array")


def test_an_unknown_provider_is_dead(context):
    (finding,) = read("pigeon", {}, context)
    assert isinstance(finding, Unreadable)
    assert "'pigeon'" in finding.detail
    assert "kumomta" in finding.detail


def test_an_adapter_may_raise_anything(context):
    def explode(_element, _context):
        yield NoStatus("before")
        raise RecursionError("too deep")

    adapter = Adapter("exploding", ADAPTERS["ses"].channel, {}, explode)
    assert read(adapter, {}, context) == [
        NoStatus("before"),
        Unreadable("not what exploding sends: RecursionError: too deep"),
    ]


def test_splitting_may_raise_anything(context):
    def explode(_payload):
        raise KeyError("x")

    adapter = Adapter("exploding", ADAPTERS["ses"].channel, {}, lambda *_: [], explode)
    assert read(adapter, {}, context) == [Unreadable("not what exploding sends: KeyError: 'x'")]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ("{broken", "broken JSON"),
        ("hello", "text, where a JSON object is expected"),
        (None, "a JSON null"),
        (True, "a JSON boolean"),
        (1.5, "a JSON number"),
        ([[]], "a JSON array"),
        ({}, "no record type"),
        ({"type": "Bounce"}, "no spool id"),
        ({"type": "Bounce", "id": "x" * 600}, "600 characters"),
    ],
)
def test_a_refusal_says_what_is_wrong(payload, words, context):
    (finding,) = read("kumomta", payload, context)
    assert isinstance(finding, Unreadable)
    assert words in finding.detail


def test_payloads_are_json_else_text_else_refused():
    assert decode_payload(b'{"a": [1]}') == {"a": [1]}
    assert decode_payload(b'\xef\xbb\xbf{"a": [1]}') == {"a": [1]}
    assert decode_payload(b"\xef\xbb\xbfMessageSid=SM1") == "MessageSid=SM1"
    assert decode_payload(b"MessageSid=SM1&To=%2B46") == "MessageSid=SM1&To=%2B46"
    assert decode_payload(b'"text"') == "text"
    assert decode_payload(b"") == ""
    with pytest.raises(ValueError, match=r"neither JSON nor UTF-8 text: .* at byte 1"):
        decode_payload(b"a\xff\xfe")


def test_more_arrays_and_objects_than_any_batch_has_are_not_decoded():
    with pytest.raises(TooManyError, match="50001 arrays and objects, and 50000 are read"):
        decode_payload(b"[%s0]" % (b"{}," * CONTAINERS_MAX))


def test_outcome_names_the_gravest_and_counts_the_rest():
    dead, unknown, none = Unreadable("bad"), Unknown("Odd"), NoStatus("Open")
    assert outcome([none, none]) == ("no_status", "no bearing on status: Open (x2)")
    assert outcome([none, unknown]) == ("unknown", "unknown native status: Odd; no bearing on status: Open")
    assert outcome([unknown, dead])[0] == "dead"


def is_event(finding):
    return isinstance(finding, Event)


_BOUNCED = b"postfix/smtp[1]: A1B2C3D%d: to=<a@example.org>, relay=mx[192.0.2.1]:25, dsn=5.1.1, status=bounced (%s)"


@pytest.mark.parametrize(
    ("provider", "payload"),
    [
        ("postfix", b"\n".join([_BOUNCED % (1, b"said: 550 Empf\xe4nger unbekannt"), _BOUNCED % (2, b"said: 550 no")])),
        ("powermta", b"type,rcpt,jobId,dsnDiag\nb,a@example.org,j,Empf\xe4nger unbekannt\nb,b@example.org,j,no\n"),
        ("kumomta", b'{"type":"Bounce","id":"a","response":{"content":"\xe4"}}\n{"type":"Bounce","id":"b"}\n'),
        (
            "sendgrid",
            b"\n".join(b'{"event":"bounce","email":"%s@x.org","sg_message_id":"a"}' % name for name in (b"a", b"b")),
        ),
        (
            "ses",
            b'{"notificationType":"Delivery","mail":{"messageId":"a"}}\r\n{"eventType":"Send","mail":{"messageId":"b"}}',
        ),
    ],
    ids=["postfix", "powermta", "kumomta", "sendgrid", "ses"],
)
def test_lines_are_read_each_on_its_own(provider, payload, context):
    findings = read(provider, decode_payload(payload), context)
    assert [type(finding) for finding in findings] == [Event, Event]


def test_one_line_that_is_no_json_costs_only_itself(context):
    payload = b'{"type":"Bounce","id":"a"}\n{"type":"Bounce",\n{"type":"Bounce","id":"b"}'
    found = [type(finding) for finding in read("kumomta", decode_payload(payload), context)]
    assert found == [Event, Unreadable, Event]


@pytest.mark.parametrize(
    "form", [b"MessageSid=SM1&MessageStatus=delivered&Body=\xe4", b"MessageSid=SM1&MessageStatus=sent&x=\xff"]
)
def test_a_form_of_another_encoding_is_read(form, context):
    (found,) = read("twilio", decode_payload(form), context)
    assert isinstance(found, Event)


@pytest.mark.parametrize(
    "octets", [b"\x1f\x8b\x08\x00\xed\xbd\x07\x60\x1c\x49\x96\x25\x26\x2f\x6d\xca\x7b", b"\xff\xfe\xfd"]
)
def test_what_is_no_text_is_refused(octets):
    with pytest.raises(ValueError, match="neither JSON nor UTF-8"):
        decode_payload(octets)


@pytest.mark.parametrize(("length", "itself"), [(1, Event), (200_000, Unreadable)])
def test_a_quote_that_nobody_closed_costs_no_other_line(length, itself, context):
    lines = ["type,rcpt,jobId,dsnDiag", "b,a@x.org,j,no", f'b,b@x.org,j,"said{" no" * length}', "b,c@x.org,j,no", ""]
    found = [type(finding) for finding in read("powermta", "\n".join(lines), context)]
    assert found == [Event, itself, Event]


def test_a_quoted_field_of_csv_may_have_lines_and_nuls(context):
    payload = 'type,rcpt,jobId,dsnDiag\nb,a@x.org,j,"550 no\nsuch user"\nb,b@x.org,j,550\0no\n'
    assert [type(finding) for finding in read("powermta", payload, context)] == [Event, Event]
