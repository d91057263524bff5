"""Simulated traffic is repeatable, looks real to the adapters, and lies only where it says that it does."""

from collections import Counter
from datetime import datetime, timedelta, timezone
from itertools import islice
from random import Random
from typing import get_args

import msgspec
import orjson
import pytest

from processor.demo.simulate import (
    NONE,
    PROVIDERS,
    Disorder,
    Provider,
    Record,
    campaigns,
    canonical_events,
    traffic,
    waiting_deliveries,
)
from processor.demo.simulate.disorder import Kind
from processor.demo.simulate.lives import Campaign, Message, Report, Step
from processor.demo.simulate.ses import SES
from processor.demo.simulate.twilio import TWILIO
from processor.domain.delivery import Cause, Control, State, join, pending_cause
from processor.domain.event import MAX_AHEAD, Event, node_of
from processor.domain.fold import Verdict, fold
from processor.domain.moment import to_microseconds
from processor.domain.row import Row
from processor.domain.status import Status
from processor.domain.transitions import Node
from processor.providers import ADAPTERS, Context, Finding, NoStatus, Unknown, Unreadable, decode_payload, read
from processor.wire.control import decode_control
from processor.wire.events import decode_event
from processor.wire.links import decode_link

pytestmark = pytest.mark.slow

START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)

#: What no adapter can read, or should.
BROKEN = {"truncated", "garbage", "unknown_provider"}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """A run in which even what is rare happens, and campaigns begin and end."""
    often = Disorder(future=0.01, truncated=0.01, garbage=0.01, unknown_status=0.01, unknown_provider=0.01)
    return list(traffic(7, START, messages=3000, disorder=often, planned=(100, 300)))


@pytest.fixture(scope="module")
def found(records) -> list[tuple[Record, list[Finding]]]:
    """What the adapters make of each record of that run."""
    return [(record, findings(record)) for record in records]


@pytest.fixture(scope="module")
def calm() -> tuple[dict[str, Row], Counter[Verdict]]:
    """What becomes of the messages of a run without disorder, and how often each verdict fell."""
    return fold_all(traffic(5, START, messages=4000, disorder=NONE))


def provider_of(record: Record) -> str:
    return dict(record.headers)["provider"].decode()


def findings(record: Record) -> list[Finding]:
    try:
        payload = decode_payload(record.value)
    except ValueError as error:
        return [Unreadable(str(error))]
    return read(provider_of(record), payload, Context(received=record.due))


def events(record: Record) -> list[Event]:
    return [finding for finding in findings(record) if isinstance(finding, Event)]


class TestTraffic:
    def test_the_same_seed_gives_the_same_records(self):
        assert list(traffic(1, START, messages=300)) == list(traffic(1, START, messages=300))

    def test_another_seed_gives_other_records(self):
        assert list(traffic(1, START, messages=300)) != list(traffic(2, START, messages=300))

    def test_the_zone_of_the_start_does_not_matter(self):
        elsewhere = START.astimezone(timezone(timedelta(hours=-7)))
        assert list(traffic(1, elsewhere, messages=300)) == list(traffic(1, START, messages=300))

    def test_records_come_in_the_order_in_which_they_are_due(self, records):
        dues = [record.due for record in records]
        assert dues == sorted(dues)
        assert dues[0] >= START

    def test_it_need_not_end(self):
        assert len(list(islice(traffic(1, START), 5000))) == 5000

    def test_a_greater_speed_compresses_lives(self):
        slow, fast = (max(record.due for record in traffic(1, START, messages=500, speed=at)) for at in (60.0, 6000.0))
        assert fast - START < (slow - START) / 10

    def test_all_providers_and_both_topics_occur(self, records):
        seen = {(provider_of(record), record.topic) for record in records}
        assert seen >= {(provider.name, provider.topic) for provider in PROVIDERS}
        assert {provider.name for provider in PROVIDERS} <= set(ADAPTERS)

    def test_some_records_have_no_key(self, records):
        assert {record.key is None for record in records} == {True, False}


class TestPayloads:
    def test_what_is_well_formed_is_read(self, found):
        for record, read_of_it in found:
            if record.disorder not in BROKEN | {"unknown_status"}:
                assert read_of_it
                assert all(isinstance(finding, Event | NoStatus) for finding in read_of_it), (record, read_of_it)

    def test_every_event_keeps_the_contract(self, found):
        read_of_all = [finding for _, read_of_it in found for finding in read_of_it]
        assert all(node_of(finding) is not None for finding in read_of_all if isinstance(finding, Event))

    @pytest.mark.parametrize(
        ("kinds", "kind_of_finding"), [(BROKEN, Unreadable), ({"unknown_status"}, Unknown), ({"engagement"}, NoStatus)]
    )
    def test_disorder_is_found_as_what_it_is(self, found, kinds, kind_of_finding):
        disordered = [read_of_it for record, read_of_it in found if record.disorder in kinds]
        assert disordered
        assert all(isinstance(finding, kind_of_finding) for read_of_it in disordered for finding in read_of_it)

    @pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
    def test_every_step_of_the_tables_is_read(self, provider):
        for number, step in enumerate(steps_of(provider)):
            assert_readable(provider, step, number)

    def test_no_time_runs_ahead_unless_it_is_meant_to(self, found):
        for record, read_of_it in found:
            for event in (finding for finding in read_of_it if isinstance(finding, Event)):
                if record.disorder == "future":
                    assert event.time > record.due + MAX_AHEAD
                else:
                    assert event.time <= record.due

    def test_some_messages_have_several_recipients_and_some_of_these_part(self):
        rows, _ = fold_all(traffic(3, START, messages=2000, disorder=NONE))
        fates: dict[tuple[str, str], list[Status]] = {}
        for row in rows.values():
            fates.setdefault((row.provider_name, row.provider_message), []).append(row.status)
        several = {message: ends for message, ends in fates.items() if len(ends) > 1}
        assert {provider for provider, _ in several} == {provider.name for provider in PROVIDERS if provider.batched}
        assert any(len(set(ends)) > 1 for ends in several.values())

    def test_both_forms_of_ses_occur(self):
        run = traffic(7, START, messages=400, planned=(20, 40), disorder=NONE, providers=(SES,))
        assert {"Message" in orjson.loads(record.value) for record in run} == {True, False}


def steps_of(provider: Provider) -> list[Step]:
    lived = [step for life in provider.lives for step in life.steps]
    return [
        *lived,
        *(step for seen in provider.engagement.values() for step in seen),
        *provider.contradictions.values(),
    ]


def assert_readable(provider: Provider, step: Step, number: int) -> None:
    rng = Random(number)
    campaign = Campaign(
        1042 + number, f"DM{1042 + number}", "Winter sale", provider.name, 1, tagged=True, variant=number % 2 == 0
    )
    identity = provider.identify(rng, START, number)
    message = Message(campaign, "m-1", number, identity, (provider.address(rng),), START)
    report = Report(step.native, step.cause, START + timedelta(minutes=1), 1, message.recipients)
    payload = decode_payload(provider.write(rng, message, report))
    for finding in read(provider.name, payload, Context(received=START)):
        assert isinstance(finding, Event | NoStatus), (step, finding)
        if isinstance(finding, Event) and finding.status is Status.FAILED:
            assert finding.reason is not None, step


class TestLives:
    def test_a_life_ends_as_most_mail_does(self, calm):
        rows, _ = calm
        ends = Counter(row.status for row in rows.values())
        total = len(rows)
        assert 0.94 < (ends[Status.SENT] + ends[Status.RECEIVED_ON_MOBILE]) / total < 0.98
        assert set(ends) >= {Status.FAILED, Status.IGNORED, Status.CANCELED}
        assert 0.01 < ends[Status.FAILED] / total < 0.05

    def test_without_disorder_nothing_is_rejected(self, calm):
        _, verdicts = calm
        assert verdicts[Verdict.REJECTED] == 0

    @pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
    def test_a_contradiction_never_moves_the_status(self, provider):
        only = only_disorder(contradictory=1.0)
        rows, verdicts = {}, Counter()
        for record in traffic(5, START, messages=500, disorder=only, providers=(provider,)):
            for event in events(record):
                rows[event.message_id], verdict = fold(rows.get(event.message_id), event, node_of(event))
                verdicts[record.disorder, verdict] += 1
        moved = {verdict for disorder, verdict in verdicts if disorder == "contradictory"}
        # "Delivered after a bounce" is merely late: `failed` may follow `sent`. These know no other ends.
        assert moved
        only_late = provider.name in {"kumomta", "powermta", "postfix", "aws_sns_sms"}
        assert moved <= {Verdict.LATE} if only_late else Verdict.REJECTED in moved
        assert moved <= {Verdict.LATE, Verdict.REJECTED}

    @pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
    def test_our_own_ids_travel_or_not(self, provider):
        run = traffic(7, START, messages=400, planned=(20, 40), disorder=NONE, providers=(provider,))
        ours = {event.message_id.startswith("DM") for record in run for event in events(record)}
        # Every fifth campaign's owner forgot to send them along.
        assert ours == ({True, False} if provider.carries_ids else {False})

    def test_messages_belong_to_the_campaigns_of_the_same_seed(self):
        run = traffic(9, START, messages=3000, planned=(50, 80), disorder=NONE)
        told = {event.delivery_id for record in run for event in events(record)} - {None}
        started = list(islice(campaigns(9, planned=(50, 80)), 60))
        assert told <= {campaign.id for campaign in started if campaign.tagged}
        assert all(50 <= campaign.planned <= 80 for campaign in started)

    def test_a_campaign_has_as_many_messages_as_planned(self):
        run = traffic(9, START, messages=1000, planned=(20, 40), disorder=NONE, providers=(TWILIO,))
        rows, _ = fold_all(run)
        by_delivery = Counter(row.delivery for row in rows.values() if row.delivery)
        planned = {at.id: at.planned for at in islice(campaigns(9, planned=(20, 40), providers=(TWILIO,)), 100)}
        finished = [delivery for delivery, count in by_delivery.items() if count == planned[delivery]]
        assert all(count <= planned[delivery] for delivery, count in by_delivery.items())
        assert len(finished) >= len(by_delivery) - TWILIO.campaigns


def only_disorder(**kinds: float) -> Disorder:
    return Disorder(**dict.fromkeys(get_args(Kind), 0.0) | kinds)


def fold_all(run) -> tuple[dict[str, Row], Counter[Verdict]]:
    rows: dict[str, Row] = {}
    verdicts: Counter[Verdict] = Counter()
    for record in run:
        for event in events(record):
            row, verdict = fold(rows.get(event.message_id), event, node_of(event))
            rows[event.message_id] = row
            verdicts[verdict] += 1
    return rows, verdicts


@pytest.fixture(scope="module")
def told() -> list[Record]:
    """A run that tells of its campaigns, too."""
    often = Disorder(late=0.3, duplicate=0.3)
    return list(traffic(7, START, messages=3000, planned=(20, 60), disorder=often, controls=True))


@pytest.fixture(scope="module")
def controls(told) -> dict[str, list[Control]]:
    found: dict[str, list[Control]] = {}
    for record in told:
        if record.topic == "control":
            control = decode_control(record.value, int(record.due.timestamp() * 1000))
            assert record.key == control.delivery_id.encode()
            found.setdefault(control.delivery_id, []).append(control)
    return found


class TestControls:
    """Campaigns are told of, as whoever plans the sends would."""

    def test_the_raw_records_stay_the_same(self, told):
        often = Disorder(late=0.3, duplicate=0.3)
        raw = list(traffic(7, START, messages=3000, planned=(20, 60), disorder=often))
        assert [record for record in told if record.topic != "control"] == raw
        assert [record.due for record in told] == sorted(record.due for record in told)

    def test_a_campaign_is_told_of_whole(self, controls):
        by_id = {campaign.id: campaign for campaign in islice(campaigns(7, planned=(20, 60)), 500)}
        finished = 0
        for delivery_id, told in controls.items():
            campaign = by_id[delivery_id]
            delivery = None
            for control in told:
                delivery = join(delivery, control)
            assert delivery is not None
            assert (delivery.label.value, delivery.planned.value) == (campaign.label, campaign.planned)
            assert delivery.campaign.value in campaign.label.lower().replace(",", "").replace(" ", "-")
            assert delivery.started_at == delivery.scheduled_at.value
            assert delivery.state in {State.RUNNING, State.FINISHED}
            finished += delivery.state is State.FINISHED
        assert finished > 20

    def test_every_campaign_whose_ids_travel_is_told_of_and_no_other(self, told, controls):
        seen = {event.delivery_id for record in told if record.topic != "control" for event in events(record)}
        assert set(controls) == seen - {None}

    def test_they_come_late_and_twice_like_everything_else(self, told):
        kinds = Counter(record.disorder for record in told if record.topic == "control")
        assert kinds["late"] > 20 < kinds["duplicate"]
        calm = traffic(7, START, messages=500, planned=(20, 60), disorder=NONE, controls=True)
        assert {record.disorder for record in calm if record.topic == "control"} == {None}

    def test_what_waits_waits(self):
        records = list(waiting_deliveries(START, messages=5))
        deliveries = {}
        for record in records:
            assert record.due == START
            if record.topic == "control":
                control = decode_control(record.value, int(START.timestamp() * 1000))
                deliveries[control.delivery_id] = join(deliveries.get(control.delivery_id), control)
        dated, held = deliveries.values()
        now = to_microseconds(START)
        assert pending_cause(dated, now, 10, 10, has_pending=True).cause is Cause.SCHEDULED
        assert pending_cause(held, now, 10, 10, has_pending=True).cause is Cause.CONCURRENCY_LIMIT
        pending = decode(record.value for record in records if record.topic == "events")
        assert [(event.status, event.delivery_id) for event in pending] == [(Status.PENDING, "DM901")] * 5
        assert held.planned.value == 5


@pytest.fixture(scope="module")
def linked_run() -> list[Record]:
    often = Disorder(duplicate=0.2, late=0.3)
    return list(traffic(7, START, messages=3000, planned=(20, 60), disorder=often, links=True))


class TestLinks:
    def test_the_raw_records_stay_the_same(self, linked_run):
        often = Disorder(duplicate=0.2, late=0.3)
        raw = [record for record in linked_run if record.topic in {"mta", "sms"}]
        assert raw == list(traffic(7, START, messages=3000, planned=(20, 60), disorder=often))

    def test_both_ways_to_tell_occur_late_and_twice_like_everything_else(self, linked_run):
        ways = [record for record in linked_run if record.topic in {"links", "events"}]
        assert {record.topic for record in ways} == {"links", "events"}
        assert {record.disorder for record in ways} == {None, "late", "duplicate"}

    def test_some_receipts_have_a_link_that_is_later_and_some_have_none(self, linked_run):
        linked, early, unlinked = set(), set(), set()
        for record in linked_run:
            if record.topic == "sms" and record.key is not None and record.key not in linked:
                unlinked.add(record.key)
            elif record.topic in {"links", "events"}:
                native_id = orjson.loads(record.value)["provider_message_id"].encode()
                linked.add(native_id)
                early |= {native_id} & unlinked
        assert early
        assert unlinked - linked

    def test_they_are_decoded_as_links_and_as_events(self, linked_run):
        for record in linked_run:
            if record.topic == "links":
                decode_link(record.value, None)
            elif record.topic == "events":
                assert decode_event(record.value, None)[0].provider_message_id


class TestDisorder:
    def test_every_kind_occurs(self, records):
        assert {record.disorder for record in records} == {None, *get_args(Kind)}

    def test_every_kind_can_be_switched_off(self):
        assert {record.disorder for record in traffic(1, START, messages=500, disorder=NONE)} == {None}

    def test_a_duplicate_repeats_bytes_that_came_before(self, records):
        seen = set()
        for record in records:
            assert record.disorder != "duplicate" or record.value in seen
            seen.add(record.value)

    def test_a_held_back_event_is_overtaken(self):
        _, verdicts = fold_all(traffic(1, START, messages=500, disorder=only_disorder(swapped=1.0)))
        assert verdicts[Verdict.LATE] + verdicts[Verdict.CORRECTED] > 300

    def test_disorder_loses_nothing(self):
        harmless = Disorder(contradictory=0, unknown_status=0.05, truncated=0.05, garbage=0.05, late=0, swapped=0)
        rows, _ = fold_all(traffic(1, START, messages=800, disorder=harmless))
        assert len(rows) >= 800


class TestCanonicalEvents:
    def test_the_same_seed_gives_the_same_events(self):
        assert list(canonical_events(1, 5000, START)) == list(canonical_events(1, 5000, START))
        assert list(canonical_events(1, 5000, START)) != list(canonical_events(2, 5000, START))

    def test_they_are_events_with_all_fields(self):
        decoded = decode(canonical_events(1, 10_000, START, deliveries=12))
        assert all(node_of(event) is not None for event in decoded)
        assert all(
            event.id and event.delivery_id and event.provider and event.provider_message_id and event.recipient
            for event in decoded
        )
        assert len({event.delivery_id for event in decoded}) == 12
        assert len({event.message_id for event in decoded}) == 10_000

    def test_failures_and_deferrals_have_a_reason(self):
        decoded = decode(canonical_events(1, 10_000, START))
        assert all(event.reason for event in decoded if event.status in {Status.FAILED, Status.IGNORED})
        assert any(event.reason for event in decoded if event.status is Status.TAKEN_INTO_ACCOUNT)

    def test_every_status_node_and_verdict_occurs(self):
        rows, verdicts = {}, Counter()
        for event in decode(canonical_events(1, 10_000, START, out_of_order=0.5)):
            rows[event.message_id], verdict = fold(rows.get(event.message_id), event, node_of(event))
            verdicts[verdict] += 1
        assert {at.node for row in rows.values() for at in row.observations} == set(Node)
        assert set(verdicts) == set(Verdict)

    def test_they_are_in_order_and_once_when_told_so(self):
        decoded = decode(canonical_events(1, 10_000, START, out_of_order=0, duplicates=0))
        assert len({event.id for event in decoded}) == len(decoded)
        last: dict[str, datetime] = {}
        for event in decoded:
            assert last.get(event.message_id, START) <= event.time
            last[event.message_id] = event.time

    def test_disorder_and_duplicates_are_as_many_as_told(self):
        calm = list(canonical_events(1, 10_000, START, out_of_order=0, duplicates=0))
        disordered = list(canonical_events(1, 10_000, START, out_of_order=0.2, duplicates=0))
        repeated = list(canonical_events(1, 10_000, START, out_of_order=0, duplicates=0.1))
        assert set(disordered) == set(calm) == set(repeated)
        displaced = sum(before != after for before, after in zip(calm, disordered, strict=True))
        assert 0.15 < displaced / len(calm) < 0.2
        assert len(repeated) / len(calm) == pytest.approx(1.1, abs=0.001)

    def test_they_keep_to_the_promised_span_and_size(self):
        raw = list(canonical_events(1, 10_000, START))
        decoded = decode(raw)
        assert min(event.time for event in decoded) == START
        assert max(event.time for event in decoded) < START + timedelta(seconds=10 + 3)
        assert 260 < sum(map(len, raw)) / len(raw) < 320


def decode(raw) -> list[Event]:
    decoder = msgspec.json.Decoder(Event)
    return [decoder.decode(event) for event in raw]
