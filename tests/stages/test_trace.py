"""DELIVERY_TRACE: the trace context of a record goes from payload to event, to row, and to dead letters."""

from types import SimpleNamespace

import pytest

from processor.engine.stage import Outbox, Partitioning
from processor.metrics import Metrics
from processor.settings import Settings, load
from processor.stages import normalize
from processor.watch.board import Board
from processor.wire.trace import carried
from tests.stages.conftest import event

PARENT = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
STATE = ("tracestate", b"congo=t61rcWkgMzE")
OTHERS = (("provider", b"firetext"), ("baggage", b"who=me"))


@pytest.fixture(params=["memory"])
def desk(desk):
    """A partition of messages; where its rows lie makes no difference here."""
    return desk


# What is carried


def test_trace_context_is_carried_as_it_came_and_nothing_else_is():
    assert carried((OTHERS[0], PARENT, OTHERS[1], STATE)) == (PARENT, STATE)
    assert carried(OTHERS) == ()
    assert carried([]) == ()


@pytest.mark.parametrize("value", [None, b"x" * 513])
def test_what_no_trace_context_can_be_is_left(value):
    assert carried([("traceparent", value), STATE]) == (STATE,)


def test_it_is_off_unless_asked_for():
    assert not Settings().trace
    assert load({"DELIVERY_TRACE": "true"}).trace


# From payload to event


def written_of(settings, *records):
    """Give the headers of what the normalize stage writes of raw records, by topic."""
    metrics, outbox = Metrics(), Outbox(1_790_000_000_000)
    counts = {"delivery.events.v1": 1, "delivery.receipts.v1": 1, "delivery.dead.v1": 1}
    work = normalize.stage(settings, metrics, Board(metrics)).start(Partitioning("delivery.sms.v1", 0, counts, "c"))
    work.process(records, outbox)
    return {name: [headers for *_, headers in found] for (name, _), found in outbox.records.items()}


def raw(value=b"mobile=447700900001&status=0&code=000&reference=r3"):
    headers = (OTHERS[0], PARENT, STATE, OTHERS[1])
    return SimpleNamespace(offset=0, timestamp=1_790_000_000_000, key=None, value=value, headers=headers)


@pytest.mark.parametrize(("trace", "headers"), [(True, (PARENT, STATE)), (False, ())])
def test_an_event_has_the_trace_of_its_payload(trace, headers):
    assert written_of(Settings(trace=trace), raw()) == {"delivery.receipts.v1": [headers]}
    assert written_of(Settings(trace=trace, link_wait=0.0), raw()) == {"delivery.events.v1": [headers]}


@pytest.mark.parametrize("trace", [True, False])
def test_a_dead_letter_has_all_headers_in_any_case(trace):
    [headers] = written_of(Settings(trace=trace), raw(b"\xff"))["delivery.dead.v1"]
    assert headers[:4] == (OTHERS[0], PARENT, STATE, OTHERS[1])


# From event to row


def test_a_row_has_the_trace_of_the_event_that_made_it(desk):
    desk = desk(trace=True)
    desk.chunk(
        event("m-1", "sent")._replace(headers=(OTHERS[1], PARENT, STATE)),
        event("m-2", "sent"),
        event("m-1", "failed", 1)._replace(headers=(PARENT,)),
    )
    assert [(key, headers) for key, _, headers in desk.written["t.messages.v1"]] == [
        (b"m-1", (PARENT, STATE)),
        (b"m-2", ()),
        (b"m-1", (PARENT,)),
    ]


def test_what_was_refused_has_the_trace_of_its_event(desk):
    desk = desk(trace=True)
    desk.chunk(event("m-1", "sent"), event("m-1", "ignored", 1)._replace(headers=(PARENT,)))
    assert [headers for *_, headers in desk.written["t.rejected.v1"]] == [(PARENT,)]


def test_a_row_has_no_headers_unless_asked_for(desk):
    desk = desk()
    desk.chunk(event("m-1", "sent")._replace(headers=(PARENT, STATE)))
    assert [headers for *_, headers in desk.written["t.messages.v1"]] == [()]
