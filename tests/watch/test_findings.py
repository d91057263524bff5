"""What a sweep finds, that it stays small, and that merging partials loses nothing."""

import gc
import weakref
from collections.abc import Iterable
from datetime import timedelta
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.delivery import ENDLESS
from processor.domain.event import Event, node_of
from processor.domain.fold import fold
from processor.domain.moment import EPOCH
from processor.domain.reason import Reason
from processor.domain.row import Row
from processor.domain.status import DEFINITIONS, Channel, Permanence, Status
from processor.domain.traits import STUCK_AFTER
from processor.domain.transitions import TRANSITIONS, Node
from processor.watch.findings import Found, Partial, Stuck, merge
from processor.watch.sweep import NOTHING_LABELLED, Sweep

HOUR, DAY = 3_600, 86_400
NOW_SECONDS = 1_800_000_000
NOW = NOW_SECONDS * 1_000_000
EMAIL, SMS = Channel.EMAIL, Channel.SMS
PENDING, TAKEN, SENT = Status.PENDING, Status.TAKEN_INTO_ACCOUNT, Status.SENT


def ago(seconds: float) -> int:
    return NOW - int(seconds * 1_000_000)


def row(
    *reports: tuple[float, Status],
    channel: Channel = EMAIL,
    delivery: str | None = "DM1",
    provider: str | None = "ses",
    gave_up: bool = False,
    reason: Reason | None = None,
    recipient: str | None = None,
) -> Row:
    """Fold reports, each so many seconds ago."""
    known = None
    for seconds, status in reports:
        given = Reason(Permanence.GAVE_UP) if gave_up and status is Status.FAILED else reason
        time = EPOCH + timedelta(seconds=NOW_SECONDS - seconds)
        names = {"delivery_id": delivery, "provider": provider, "recipient": recipient}
        event = Event(time, "m", channel, status, reason=given, **names)
        known, _ = fold(known, event, node_of(event))
    return known


def swept(rows: Iterable[tuple[bytes, Row]], **how) -> Sweep:
    sweep = Sweep(how.pop("stuck_after", STUCK_AFTER), how.pop("now", NOW), **how)
    for key, each in rows:
        sweep.visit(key, each)
    return sweep


def named(*rows: Row) -> list[tuple[bytes, Row]]:
    return [(b"m-%d" % number, each) for number, each in enumerate(rows)]


def stuck_in(partial: Partial) -> dict[tuple[Channel, Status], int]:
    return {(at.channel, at.status): at.stuck for at in partial.waiting if at.stuck}


class TestStuck:
    @pytest.mark.parametrize(("place", "seconds"), STUCK_AFTER.items())
    def test_after_its_threshold_and_not_before(self, place, seconds):
        channel, status = place
        inside, beyond = (row((seconds + more, status), channel=channel) for more in (-1, 1))
        partial = swept(named(inside, beyond)).result()
        assert stuck_in(partial) == {place: 1}
        assert [at.sample for at in partial.stuck] == [(Found(ago(seconds + 1), "m-1"),)]

    def test_is_nothing_that_nobody_waits_for(self):
        settled = [
            row((9 * DAY, status), channel=channel, gave_up=gave_up)
            for channel in Channel
            for status, definition in DEFINITIONS.items()
            for gave_up in (False, True)
            if channel in definition.channels and (channel, status) not in STUCK_AFTER
        ]
        assert not stuck_in(swept(named(*settled)).result())

    def test_thresholds_are_settings_and_one_may_be_off(self):
        rows = named(row((100, PENDING)), row((9 * DAY, TAKEN)))
        partial = swept(rows, stuck_after={(EMAIL, PENDING): 60.0}).result()
        assert stuck_in(partial) == {(EMAIL, PENDING): 1}
        assert {at.oldest for at in partial.waiting} == {None, Found(ago(100), "m-0"), Found(ago(9 * DAY), "m-1")}

    def test_is_told_by_delivery_and_provider_the_largest_group_first(self):
        rows = [
            *[row((2 * HOUR + number, PENDING)) for number in range(7)],
            *[row((3 * HOUR, PENDING), delivery="DM2", provider=None) for _ in range(2)],
            row((4 * HOUR, PENDING), provider="kumomta"),
            row((5 * DAY, TAKEN)),
        ]
        partial = swept(named(*rows)).result()
        assert [(at.status, at.delivery_id, at.provider, at.messages) for at in partial.stuck] == [
            (PENDING, "DM1", "ses", 7),
            (PENDING, "DM2", None, 2),
            (TAKEN, "DM1", "ses", 1),
            (PENDING, "DM1", "kumomta", 1),
        ]
        assert partial.stuck[0].sample == tuple(
            Found(ago(2 * HOUR + number), f"m-{number}") for number in (6, 5, 4, 3, 2)
        )
        assert partial.stuck_deliveries == {"DM1": 9, "DM2": 2}

    def test_is_counted_honestly_where_there_are_more_groups_than_are_told(self):
        rng = Random(1)
        rows = [row((2 * HOUR, PENDING), delivery=f"DM{number}") for number in range(12_000)]
        large = [row((2 * HOUR, PENDING), delivery="large")] * 300
        several = named(*rows, *large)
        rng.shuffle(several)
        sweep = swept(several)
        partial = sweep.result()
        assert stuck_in(partial) == {(EMAIL, PENDING): 12_300}
        assert len(partial.stuck) == 50
        assert (partial.stuck[0].delivery_id, partial.stuck[0].messages > 280) == ("large", True)
        assert len(partial.stuck_deliveries) == 1_000
        assert len(sweep._stuck) <= 5_000

    def test_is_no_message_that_waits_for_the_date_of_its_delivery(self):
        rows = named(row((2 * HOUR, PENDING)), row((5 * DAY, TAKEN)), row((2 * HOUR, PENDING), delivery="DM2"))
        for until, expected in ((ago(-DAY), 1), (ago(0.5 * HOUR), 1), (ago(1.5 * HOUR), 2), (ago(3 * HOUR), 2)):
            partial = swept(rows, holds={"DM1": until}).result()
            assert stuck_in(partial) == {(EMAIL, PENDING): expected, (EMAIL, TAKEN): 1}

    def test_is_no_message_of_a_paused_delivery_that_nobody_took(self):
        rows = named(row((2 * HOUR, PENDING)), row((5 * DAY, TAKEN)), row((2 * HOUR, PENDING), delivery="DM2"))
        partial = swept(rows, holds={"DM1": ENDLESS}).result()
        assert stuck_in(partial) == {(EMAIL, PENDING): 1, (EMAIL, TAKEN): 1}
        assert partial.stuck_deliveries == {"DM1": 1, "DM2": 1}

    def test_is_judged_by_how_far_the_partition_has_read(self):
        rows = named(row((2 * HOUR, PENDING)))
        assert stuck_in(swept(rows, now=ago(1.5 * HOUR)).result()) == {}

    def test_a_later_status_takes_the_label_off(self):
        assert not stuck_in(swept(named(row((2 * HOUR, PENDING), (10, TAKEN)))).result())


class TestLabels:
    def test_tell_of_the_messages_that_were_called_stuck(self):
        stuck, fresh = row((2 * HOUR, PENDING)), row((10, PENDING))
        labels = swept([(b"stuck", stuck), (b"fresh", fresh)]).labels()
        assert labels.has(b"stuck", stuck)
        assert not labels.has(b"fresh", fresh)

    def test_do_not_tell_of_old_history_that_came_after_the_sweep(self):
        labels = swept(named(row((2 * HOUR, PENDING)))).labels()
        assert not labels.has(b"another", row((400 * DAY, PENDING)))

    def test_tell_of_the_node_that_was_called_stuck_only(self):
        labels = swept([(b"m", row((2 * HOUR, PENDING)))]).labels()
        assert not labels.has(b"m", row((2 * HOUR, PENDING), (30, TAKEN)))

    def test_of_more_than_are_remembered_are_judged_by_time(self):
        stuck = row((2 * HOUR, PENDING))
        labels = swept((b"%d" % number, stuck) for number in range(60_000)).labels()
        assert labels.has(b"59999", stuck)
        assert not labels.has(b"59999", row((10, PENDING)))

    def test_before_the_first_sweep_there_are_none(self):
        assert not NOTHING_LABELLED.has(b"m", row((2 * HOUR, PENDING)))


class TestOldest:
    def test_is_told_of_every_status_in_which_messages_wait(self):
        rows = [row((number, status), channel=channel) for channel, status in STUCK_AFTER for number in (20, 30, 10)]
        partial = swept(named(*rows)).result()
        assert [(at.channel, at.status) for at in partial.waiting] == list(STUCK_AFTER)
        assert [at.oldest for at in partial.waiting] == [
            Found(ago(30), f"m-{3 * place + 1}") for place in range(len(STUCK_AFTER))
        ]

    def test_of_nothing_is_none(self):
        assert {at.oldest for at in swept([]).result().waiting} == {None}


class TestExpired:
    SETTLED = (
        row((40 * DAY, SENT)),
        row((40 * DAY, Status.FAILED)),
        row((40 * DAY, Status.FAILED), gave_up=True),
        row((40 * DAY, Status.IGNORED)),
        row((40 * DAY, Status.CANCELED)),
        row((40 * DAY, Status.NOT_APPLICABLE)),
        row((40 * DAY, Status.RECEIVED_ON_MOBILE), channel=SMS),
        row((40 * DAY, Status.FAILED), channel=SMS, gave_up=True),
    )

    def test_are_those_in_which_nobody_waits_any_more(self):
        rows = named(*self.SETTLED)
        assert swept(rows, expired_before=ago(30 * DAY)).expired == [key for key, _ in rows]
        assert swept(rows, expired_before=ago(41 * DAY)).expired == []

    def test_are_none_where_rows_are_kept_for_ever(self):
        assert swept(named(*self.SETTLED)).expired == []

    @pytest.mark.parametrize("place", STUCK_AFTER)
    def test_are_none_that_wait(self, place):
        assert swept(named(row((400 * DAY, place[1]), channel=place[0])), expired_before=ago(DAY)).expired == []

    def test_are_judged_by_the_last_that_was_reported(self):
        late = row((40 * DAY, SENT), (20 * DAY, SENT))
        refused = row((40 * DAY, Status.IGNORED), (20 * DAY, SENT))
        assert swept(named(late, refused), expired_before=ago(30 * DAY)).expired == []
        assert swept(named(late, refused), expired_before=ago(10 * DAY)).expired == [b"m-0", b"m-1"]

    def test_may_be_younger_than_history(self):
        assert swept(named(row((2 * DAY, TAKEN), (2 * DAY - 9, SENT))), expired_before=ago(DAY)).expired == [b"m-0"]

    def test_are_bounded(self):
        rows = ((b"%d" % number, self.SETTLED[0]) for number in range(20_000))
        assert len(swept(rows, expired_before=ago(DAY)).expired) == 10_000


class TestContradictions:
    def test_are_told_with_the_newest_evidence_first(self):
        rows = [row((10 * HOUR, Status.IGNORED), (9 * HOUR - number, SENT)) for number in range(8)]
        rows += [
            row((100, Status.CANCELED), (50, Status.NOT_APPLICABLE), provider="kumomta"),
            row((100, TAKEN), (50, SENT)),
        ]
        partial = swept(named(*rows)).result()
        assert [(at.channel, at.standing, at.reported, at.provider, at.messages) for at in partial.contradictions] == [
            (EMAIL, "canceled", "not_applicable", "kumomta", 1),
            (EMAIL, "ignored", "sent", "ses", 8),
        ]
        assert partial.contradicted == 9
        assert partial.contradictions[1].sample == tuple(
            Found(ago(9 * HOUR - number), f"m-{number}") for number in (7, 6, 5, 4, 3)
        )

    def test_are_seen_wherever_a_message_stands(self):
        for channel, table in TRANSITIONS.items():
            for node in table:
                known = row((9, Status.PENDING), channel=channel)
                known = msgspec.structs.replace(known, node=node, rejected=(Node.PENDING,))
                assert swept(named(known)).result().contradicted == 1

    def test_are_named_from_and_to_in_json(self):
        partial = swept(named(row((100, Status.IGNORED), (50, SENT)))).result()
        [told] = msgspec.json.decode(msgspec.json.encode(partial))["contradictions"]
        assert (told["from"], told["to"]) == ("ignored", "sent")

    def test_are_bounded(self):
        rows = [row((100, Status.IGNORED), (50, SENT), provider=f"p{number}") for number in range(500)]
        partial = swept(named(*rows)).result()
        assert (len(partial.contradictions), partial.contradicted) == (100, 500)


ROWS = [
    row((seconds, status), *later, channel=channel, delivery=delivery, provider=provider)
    for channel in Channel
    for status in (PENDING, TAKEN, SENT, Status.IGNORED, Status.FAILED)
    for seconds in (30, 2 * HOUR, 5 * DAY)
    for later in ((), ((20, SENT),), ((20, Status.FAILED),))
    for delivery, provider in (("DM1", "ses"), ("DM2", "kumomta"), (None, None))
]
partials = st.lists(st.lists(st.sampled_from(ROWS), max_size=6), max_size=4).map(
    lambda parts: [
        swept(
            ((b"m-%d-%d" % (number, index), each) for index, each in enumerate(rows)),
            now=NOW + number,
            is_behind=rows == [],
        ).result()
        for number, rows in enumerate(parts)
    ]
)


class TestMerge:
    @given(partials, st.integers(0, 4))
    def test_is_associative(self, several, at):
        assert merge([merge(several[:at]), merge(several[at:])]) == merge(several)

    @given(partials, st.randoms())
    def test_does_not_depend_on_order(self, several, rng):
        shuffled = [*several]
        rng.shuffle(shuffled)
        assert merge(shuffled) == merge(several)

    @given(partials)
    def test_of_one_changes_nothing(self, several):
        assert [merge([each]) for each in several] == several

    @given(st.lists(st.sampled_from(ROWS), max_size=30), st.integers(1, 4))
    def test_of_all_partitions_gives_what_one_would_give(self, rows, partitions):
        everything = named(*rows)
        parts = [swept(everything[number::partitions]).result() for number in range(partitions)]
        whole = swept(everything).result()
        assert merge(parts) == msgspec.structs.replace(whole, partitions=partitions)

    @given(partials)
    def test_goes_as_json_and_comes_back(self, several):
        merged = merge(several)
        assert msgspec.json.decode(msgspec.json.encode(merged), type=Partial) == merged

    def test_of_nothing_is_empty(self):
        assert merge([]).now == 0
        assert {at.stuck for at in merge([]).waiting} == {0}

    def test_keeps_groups_that_only_one_partition_told(self):
        one, other = (Stuck(EMAIL, PENDING, f"DM{number}", None, 1, (Found(0, "m"),)) for number in range(2))
        empty = merge([])
        merged = merge(msgspec.structs.replace(empty, stuck=(each,)) for each in (one, other, one))
        assert [(at.delivery_id, at.messages) for at in merged.stuck] == [("DM0", 2), ("DM1", 1)]


def test_a_partial_is_small_whatever_the_rows():
    rng = Random(3)
    sweep = Sweep(STUCK_AFTER, NOW)
    for number in range(20_000):
        seconds = rng.choice([10, HOUR, 2 * HOUR, 10 * DAY]) * rng.random()
        channel = rng.choice(list(Channel))
        steps = [(seconds + 1, rng.choice([PENDING, TAKEN])), (seconds, rng.choice([SENT, TAKEN, Status.IGNORED]))]
        each = row(*steps, channel=channel, delivery=f"DM{rng.randrange(3_000)}", provider=f"p{rng.randrange(30)}")
        sweep.visit(b"DM1042-%06d" % number, each)
    assert len(msgspec.json.encode(sweep.result())) < 200_000


def test_a_sweep_that_nobody_holds_is_gone_at_once():
    gc.disable()  # It runs seldom in a worker: what waits for it looks like a leak.
    try:
        sweep = swept(named(row((10 * DAY, PENDING)), row((2 * HOUR, TAKEN), (HOUR, SENT))), expired_before=NOW)
        sweep.result()
        is_there = weakref.ref(sweep)
        del sweep
        assert is_there() is None
    finally:
        gc.enable()
