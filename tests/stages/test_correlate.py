"""Receipts find their messages by the provider's id: all stages, one partition each, without a broker."""

from datetime import timedelta

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from processor.demo.simulate import EARLY_RECEIPT, EARLY_SID, LONG_TEXT, early_receipt, long_text
from processor.wire.links import FORGOTTEN_HEADER, LINK_HEADERS, MOVED_HEADER
from tests.examples import examples
from tests.stages.line import START, Line, Read, event, link, receipt, stamp


class TestShown:
    def test_a_receipt_without_a_link_is_a_message_of_its_own(self):
        line = Line()
        line.take(receipt("SM1", "delivered", 5))
        assert line.rows() == {"twilio:SM1": "received_on_mobile"}
        assert (line.counted(), line.outcomes()) == (1, {"received": 1})

    def test_a_receipt_whose_link_is_known_is_its_messages(self):
        line = Line()
        line.take(link("SM1", "m", 0), receipt("SM1", "delivered", 5))
        assert line.rows() == {"m": "received_on_mobile"}
        assert (line.counted(), line.outcomes()) == (1, {"received": 1, "matched": 1})

    def test_a_link_that_comes_later_moves_the_row(self):
        line = Line()
        line.take(event("m", "sent_to_provider", 0), receipt("SM1", "delivered", 5), link("SM1", "m", 0))
        assert line.rows() == {"m": "received_on_mobile", "twilio:SM1": "-> m"}
        assert line.counted() == 1

    def test_an_event_of_ours_with_both_ids_is_a_link(self):
        line = Line()
        both = {"provider": "twilio", "provider_message_id": "SM1", "delivery_id": "D"}
        line.take(receipt("SM1", "delivered", 5), event("m", "sent_to_provider", 0, **both))
        assert line.rows() == {"m": "received_on_mobile", "twilio:SM1": "-> m"}
        assert line.counted() == 1

    def test_a_payload_with_an_id_of_ours_is_none(self):
        line = Line()
        line.take(receipt("SM1", "sent", 5, message_id="m"))
        assert line.rows() == {"m": "sent"}
        assert not line.written["t.receipts.v1"]

    def test_what_a_link_says_goes_on_with_the_receipt(self):
        line = Line()
        line.take(link("SM1", "m", 0, delivery_id="D", part=1, parts=2), receipt("SM1", "delivered", 5))
        assert line.rows() == {"m": "taken_into_account"}
        line.take(link("SM2", "m", 0, delivery_id="D", part=2, parts=2), receipt("SM2", "delivered", 6))
        assert line.rows() == {"m": "received_on_mobile"}

    def test_a_moved_row_is_gone_after_a_restart(self):
        line, again = Line(), Line()
        line.take(receipt("SM1", "delivered", 5), link("SM1", "m", 0))
        fold = again.works["t.events.v1"]
        fold.restore(line.written["t.messages.v1"], len(line.written["t.messages.v1"]))
        fold.restore_ledger(line.written["t.counts.v1"], len(line.written["t.counts.v1"]))
        fold.restored()
        assert fold.audit() == 0
        assert (fold.row(b"twilio:SM1"), fold.row(b"m").status.value) == (None, "received_on_mobile")

    def test_an_order_to_move_a_message_of_ours_is_a_dead_letter(self):
        line = Line()
        line.take(event("m", "sent", 0, provider="twilio"))
        order = Read(0, stamp(1), b"m", b'{"message_id":"m","moved_to":"x"}', ((MOVED_HEADER, b"x"),))
        line.take(("t.events.v1", order))
        assert (line.dead(), line.rows()) == (["invalid_event"], {"m": "sent"})

    def test_where_no_links_are_heard_nothing_waits(self):
        line = Line(link_wait=0.0)
        line.take(receipt("SM1", "delivered", 5), link("SM1", "m", 0))
        assert line.rows() == {"twilio:SM1": "received_on_mobile"}
        assert not [record for record in line.written["t.receipts.v1"] if not record.headers]

    @hypothesis_settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.randoms(use_true_random=False))
    def test_whatever_comes_first_and_however_often_the_rows_are_the_same(self, chance):
        given_ = [
            link("SM1", "m", 0),
            event("m", "sent_to_provider", 0),
            receipt("SM1", "sent", 4),
            receipt("SM1", "delivered", 5),
            receipt("SM2", "failed", 5),
            event("n", "sent_to_provider", 0, provider="twilio", provider_message_id="SM2"),
            receipt("SM3", "sent", 6),
        ]
        given_ += chance.choices(given_, k=5)
        chance.shuffle(given_)
        line = Line()
        line.take(*given_)
        found = {name: status for name, status in line.rows().items() if not status.startswith("->")}
        assert found == {"m": "received_on_mobile", "n": "failed", "twilio:SM3": "sent"}
        assert (line.counted(), line.dead()) == (3, [])


class TestSeveralRecipients:
    """The id of a batch covers all of its recipients: each of them is another message."""

    LINKS = (("46701740605", "m-1"), ("+46701740606", "m-2"))

    def links(self, provider):
        return [link("b1", ours, 0, provider=provider, recipient=number) for number, ours in self.LINKS]

    def receipts(self, provider):
        reports = {
            "sinch": [
                {"type": "recipient_delivery_report_sms", "batch_id": "b1", "recipient": number, "status": status}
                for number, status in (("+46701740605", "Delivered"), ("46701740606", "Failed"))
            ],
            "messagebird": [
                {"id": "b1", "recipient": number, "status": status}
                for number, status in ((46701740605, "delivered"), ("46701740606", "delivery_failed"))
            ],
        }
        headers = (("provider", provider.encode()),)
        return [("t.sms.v1", Read(0, stamp(1), None, orjson.dumps(one), headers)) for one in reports[provider]]

    @pytest.mark.parametrize("provider", ["sinch", "messagebird"])
    @pytest.mark.parametrize("is_first", [True, False])
    def test_each_finds_its_own_message(self, provider, is_first):
        line = Line()
        given = [*self.links(provider), *self.receipts(provider)]
        line.take(*(given if is_first else reversed(given)))
        rows = {name: status for name, status in line.rows().items() if not status.startswith("->")}
        assert rows == {"m-1": "received_on_mobile", "m-2": "failed"}
        assert line.counted() == 2


class TestStory:
    """What the demo shows."""

    def told(self, records) -> Line:
        topics = {"sms": "t.sms.v1", "events": "t.events.v1", "links": "t.links.v1"}
        line = Line()
        for at in records:
            record = Read(0, int(at.due.timestamp() * 1000), at.key, at.value, at.headers)
            line.take((topics[at.topic], record))
        return line

    def test_a_receipt_that_came_before_its_submit_finds_its_message(self):
        first, *others = early_receipt(START)
        assert self.told([first]).rows() == {f"twilio:{EARLY_SID}": "received_on_mobile"}
        assert self.told([first, *others]).rows() == {
            f"twilio:{EARLY_SID}": f"-> {EARLY_RECEIPT}",
            EARLY_RECEIPT: "received_on_mobile",
        }

    def test_a_long_text_is_received_when_its_last_part_is(self):
        *others, last = long_text(START)
        assert self.told(others).rows() == {LONG_TEXT: "taken_into_account"}
        assert self.told([*others, last]).rows() == {LONG_TEXT: "received_on_mobile"}


class TestIdsThatAreUsedAgain:
    """A newer link takes what belongs to it from the message of the older one, whatever came first."""

    DAY = 24 * 60

    def test_a_receipt_of_the_new_message_is_taken_back_from_the_old_one(self):
        line = Line(retention=0.0)
        line.take(link("SM1", "old", -10 * self.DAY), event("old", "sent", -10 * self.DAY))
        line.take(receipt("SM1", "delivered", 5))
        assert line.rows() == {"old": "received_on_mobile"}
        line.take(link("SM1", "new", 0))
        assert line.rows() == {"old": "sent", "new": "received_on_mobile"}
        assert line.counted() == 2
        assert line.outcomes() == {"received": 1, "matched": 1, "corrected": 1}

    def test_a_message_that_only_that_receipt_told_of_is_gone(self):
        line = Line(retention=0.0)
        line.take(link("SM1", "old", -10 * self.DAY), receipt("SM1", "delivered", 5), link("SM1", "new", 0))
        assert line.rows() == {"new": "received_on_mobile"}
        assert line.counted() == 1

    def test_after_a_day_a_receipt_stays_where_it_is(self):
        line = Line(retention=0.0)
        line.take(link("SM1", "old", -10 * self.DAY), receipt("SM1", "delivered", 5))
        line.now += timedelta(days=1)
        line.sweep()
        line.take(link("SM1", "new", 0))
        assert line.rows() == {"old": "received_on_mobile"}

    @hypothesis_settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.randoms(use_true_random=False))
    def test_no_order_matters(self, chance):
        given_ = [
            *(link("SM1", message_id, day * self.DAY) for message_id, day in (("a", -9), ("b", -6), ("c", -3))),
            *(event(message_id, "sent_to_provider", day * self.DAY) for message_id, day in (("a", -9), ("c", -3))),
            receipt("SM1", "sent", -9 * self.DAY + 2),
            receipt("SM1", "sent", -6 * self.DAY + 2),
            receipt("SM1", "delivered", -6 * self.DAY + 90),
            receipt("SM1", "failed", -1 * self.DAY, ErrorCode="30003"),
        ]
        given_ += chance.choices(given_, k=4)
        chance.shuffle(given_)
        line = Line(retention=0.0)
        line.take(*given_)
        found = {name: status for name, status in line.rows().items() if not status.startswith("->")}
        assert found == {"a": "sent", "b": "received_on_mobile", "c": "failed"}
        assert (line.counted(), line.dead()) == (3, [])
        # Down to the last bit of what the rows remember.
        ordered = Line(retention=0.0)
        ordered.take(*sorted(given_, key=lambda each: (each[0] != "t.links.v1", each[1].timestamp)))
        assert [line.works["t.events.v1"].row(name) for name in (b"a", b"b", b"c")] == [
            ordered.works["t.events.v1"].row(name) for name in (b"a", b"b", b"c")
        ]


class TestForgotten:
    """The record of a move goes when its message would, so that the topic does not grow for ever."""

    def moved(self, **settings: object) -> Line:
        line = Line(**settings)
        line.take(event("m", "sent_to_provider", 0), receipt("SM1", "delivered", 5), link("SM1", "m", 0))
        assert line.rows() == {"m": "received_on_mobile", "twilio:SM1": "-> m"}
        return line

    def written(self, line: Line) -> list[bytes | None]:
        return [record.value for record in line.written["t.messages.v1"] if record.key == b"twilio:SM1"]

    def test_it_goes_when_its_retention_ends_and_once(self):
        line = self.moved(retention=30 * 86_400.0)
        line.now = START + timedelta(days=30)
        line.sweep()
        assert self.written(line)[-1] is not None
        for _ in range(3):
            line.now += timedelta(days=1)
            line.sweep()
        shown, gone, *tombstones = self.written(line)
        assert (shown is not None, gone is not None, tombstones) == (True, True, [None])
        assert (line.counted(), line.works["t.events.v1"].row(b"twilio:SM1")) == (1, None)
        # Nothing of the key is left in the stage's own state.
        assert line.written["t.correlations.v1"][-1].value is None

    def test_with_no_retention_it_stays(self):
        line = self.moved(retention=0.0)
        line.now = START + timedelta(days=10_000)
        line.sweep()
        assert line.rows()["twilio:SM1"] == "-> m"

    def test_a_row_that_has_taken_its_place_stays(self):
        line = self.moved(retention=30 * 86_400.0)
        # Too early for the link, and so it is shown again.
        line.take(receipt("SM1", "sent", -120))
        line.now = START + timedelta(days=31)
        line.sweep()
        assert line.rows()["twilio:SM1"] == "sent"
        assert None not in self.written(line)

    def test_nobody_can_remove_a_row_with_such_an_order(self):
        line = self.moved()
        order = Read(0, stamp(1), b"m", b'{"message_id":"m","moved_to":"x"}', ((FORGOTTEN_HEADER, b"x"),))
        line.take(("t.events.v1", order))
        assert line.rows()["m"] == "received_on_mobile"

    def test_it_goes_after_a_restart_too(self):
        line, again = self.moved(retention=86_400.0), Line(retention=86_400.0)
        for topic, changelog in line.changelogs.items():
            work, records = again.works[topic], line.written[changelog]
            work.restore(records, len(records))
            again.written[changelog] += records
        again.works["t.events.v1"].restore_ledger(line.written["t.counts.v1"], len(line.written["t.counts.v1"]))
        for topic in ("t.receipts.v1", "t.events.v1"):
            again.works[topic].restored()
        again.now = START + timedelta(days=2)
        again.sweep()
        assert self.written(again)[-1] is None

    def test_where_receipts_are_held_there_is_none(self):
        line = Line(unlinked="hold", retention=86_400.0)
        line.take(receipt("SM1", "delivered", 5), link("SM1", "m", 0))
        line.now = START + timedelta(days=2)
        line.sweep()
        assert self.written(line) == []


class TestHeld:
    def test_a_receipt_without_a_link_is_held_back(self):
        line = Line(unlinked="hold")
        line.take(receipt("SM1", "delivered", 5))
        assert (line.rows(), line.counted()) == ({}, 0)
        line.take(link("SM1", "m", 0))
        assert line.rows() == {"m": "received_on_mobile"}

    def test_one_that_waited_in_vain_is_a_dead_letter(self):
        line = Line(unlinked="hold", link_wait=3_600.0)
        line.take(receipt("SM1", "delivered", 5))
        line.sweep()
        assert line.dead() == ["unmatched"]
        assert line.outcomes() == {"received": 1, "unmatched": 1}

    def test_one_that_is_shown_only_stops_waiting(self):
        line = Line(link_wait=3_600.0)
        line.take(receipt("SM1", "delivered", 5))
        line.sweep()
        assert (line.dead(), line.rows()) == ([], {"twilio:SM1": "received_on_mobile"})
        assert line.outcomes() == {"received": 1, "unmatched": 1}


class TestManyAtOnce:
    """Receipts by the million may have waited in vain at once: no transaction takes them all."""

    def expired(self, *given: tuple[str, Read]) -> tuple[Line, list[tuple[str, int, int]]]:
        line = Line(unlinked="hold", link_wait=3_600.0, max_record_bytes=100_000)
        for topic, record in given:
            line.written[topic].append(record)
        line.run()
        line.transactions.clear()
        line.sweep()
        return line, [each for each in line.transactions if each[0] == "t.receipts.v1"]

    def test_a_transaction_takes_a_bounded_number_of_them(self):
        line, transactions = self.expired(*(receipt(f"SM{number}", "sent", 5) for number in range(5_000)))
        assert line.outcomes() == {"received": 5_000, "unmatched": 5_000}
        # A dead letter and a tombstone each.
        assert sum(records for _, records, _ in transactions) == 10_000
        assert max(records for _, records, _ in transactions) <= 4_000

    def test_and_a_bounded_number_of_bytes(self):
        line, transactions = self.expired(
            *(self.long_receipt(f"SM{number}", second) for number in range(40) for second in range(60))
        )
        assert line.outcomes() == {"received": 2_400, "unmatched": 2_400}
        assert len(transactions) > 1
        assert max(size for _, _, size in transactions) < 4 * 2**20

    def long_receipt(self, native_id: str, second: int) -> tuple[str, Read]:
        _, told = event(f"twilio:{native_id}", "sent", second / 60, recipient="x" * 1_000, provider="twilio")
        return "t.receipts.v1", told

    def test_records_go_on_meanwhile(self):
        line = Line(unlinked="hold", link_wait=3_600.0)
        line.written["t.sms.v1"] += [receipt(f"SM{number}", "sent", 5)[1] for number in range(5_000)]
        line.run()
        work = line.works["t.receipts.v1"]
        while not work.is_due:
            work.punctuate(is_behind=False)
        line.written["t.receipts.v1"].append(
            Read(0, stamp(5), b"twilio:SM0", link("SM0", "m", 0)[1].value, LINK_HEADERS)
        )
        assert line._step("t.receipts.v1")
        assert work.is_due
        line.run()
        assert line.rows() == {"m": "sent"}
        assert line.outcomes() == {"received": 5_000, "matched": 1, "unmatched": 4_999}


class TestSeen:
    def test_how_many_wait_and_since_when(self):
        line = Line()
        line.take(receipt("SM1", "sent", 5), receipt("SM2", "sent", 65))
        line.sweep()
        value = line.metrics.registry.get_sample_value
        assert value("delivery_receipts_waiting", {"provider": "twilio"}) == 2
        assert value("delivery_receipts_oldest_waiting_seconds", {"provider": "twilio"}) == 86_400 - 300


class TestLinks:
    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (b"", "empty_value"),
            (b"{", "invalid_json"),
            (b"{}", "invalid_link"),
            (link("SM1", "m", 0, part=3, parts=2)[1].value, "invalid_link"),
            (link("SM1", "m", 0, provider="nobody")[1].value, "unknown_provider"),
            (link("SM1", "m", 3 * 1_440)[1].value, "time_ahead"),
        ],
    )
    def test_one_that_cannot_be_used_is_a_dead_letter(self, value, reason):
        line = Line()
        line.take(("t.links.v1", Read(0, stamp(0), b"k", value)))
        assert line.dead() == [reason]

    def test_two_of_one_moment_are_evidence(self):
        line = Line()
        line.take(link("SM1", "b", 0), link("SM1", "a", 0))
        evidence = [orjson.loads(record.value) for record in line.written["t.rejected.v1"]]
        assert [(each["link"]["message_id"], each["kept"]["message_id"]) for each in evidence] == [("b", "a")]

    def test_ids_of_sms_centres_are_compared_without_case_and_zeros(self):
        line = Line()
        line.take(link("00AB1", "m", 0, provider="smpp"))
        text = "id:ab1 sub:001 dlvrd:001 submit date:2611230800 done date:2611230805 stat:DELIVRD err:000 text:"
        value = orjson.dumps({"esm_class": 4, "short_message": text, "source_addr": "46701234567"})
        line.take(("t.sms.v1", Read(0, stamp(5), None, value, (("provider", b"smpp"),))))
        assert line.rows() == {"m": "received_on_mobile"}

    @pytest.mark.parametrize("told", ["38601fa", "038601FA"])
    def test_ids_of_an_smpp_account_are_compared_in_one_notation(self, told):
        line = Line(smpp_id_notations={"north": "decimal/hex"})
        line.take(link("0059113978", "m", 0, provider="smpp", account="north"))
        text = f"id:{told} sub:001 dlvrd:001 submit date:2611230800 done date:2611230805 stat:DELIVRD err:000 text:"
        value = orjson.dumps({"esm_class": 4, "short_message": text, "source_addr": "46701234567"})
        for account in (b"north", b"south"):
            headers = (("provider", b"smpp"), ("account", account))
            line.take(("t.sms.v1", Read(0, stamp(5), None, value, headers)))
        assert line.rows() == {"m": "received_on_mobile", f"smpp@south:{told}": "received_on_mobile"}
