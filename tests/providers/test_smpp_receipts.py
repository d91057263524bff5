"""A receipt is read however its text is spelt and joined, its octets are written, and its PDU is made to JSON.

Shapes after public reports and the source code of the libraries: python-smpplib #90 (bytes), php-smpp #70, jsmpp #62
and #67 (fields left out), smppex #46, gosmpp #124 (TLVs of octets), cloudhopper-smpp #105, node-smpp #77, jasmin #70.
"""

import base64

import pytest

from processor.domain.event import Event
from processor.providers import NoStatus, Unknown, read

TEXT = "id:1f sub:001 dlvrd:001 submit date:2001010000 done date:2001010000 stat:DELIVRD err:000 text:hi"
OCTETS = TEXT.encode()


def packed(text):
    """Pack ASCII that is the same in the GSM alphabet: seven bits a character."""
    number = sum(ord(character) << 7 * place for place, character in enumerate(text))
    return number.to_bytes((7 * len(text) + 7) // 8, "little")


def pdu(text, **fields):
    return {"pdu": "deliver_sm", "esm_class": 4, "source_addr": "46700000001", "short_message": text, **fields}


def one(payload, context):
    (event,) = read("smpp", payload, context)
    assert isinstance(event, Event), event
    return event


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.replace(" ", "\t"),
        TEXT.replace(" ", "  "),
        TEXT.replace(" sub", ",sub").replace(" stat", ";stat"),
        TEXT.replace(" sub", "|sub").replace(" stat", "|stat").replace(" err", "|err"),
        TEXT.replace("001submit", "001 submit").replace(" submit", "submit").replace(" done", "done"),
        TEXT.replace(" stat", "stat").replace(" err", "err").replace(" text", "text"),
        TEXT.upper().replace("1F", "1f"),
        TEXT.title().replace("1F", "1f"),
        TEXT.replace(":", ": "),
        TEXT.replace(":", " :"),
        TEXT.replace(":", "="),
        TEXT.replace("stat:", "state:"),
        TEXT.replace("stat:", "status:").replace("err:", "error:"),
        TEXT.replace("id:", "message id:"),
        TEXT.replace("id:", "msgid:"),
        "id:1f stat:DELIVRD",
        'id:"1f" stat:"DELIVRD" err:"000"',
        "{id:1f stat:DELIVRD err:000}",
        "stat:DELIVRD err:000 id:1f text:",
    ],
)
def test_fields_are_read_however_they_are_spelt_and_joined(text, context):
    event = one(pdu(text), context)
    assert (event.message_id, event.status, event.reason.code) == ("smpp:1f", "received_on_mobile", "DELIVRD")


@pytest.mark.parametrize(
    "written",
    [
        OCTETS.hex(),
        OCTETS.hex().upper(),
        "0x" + OCTETS.hex(),
        OCTETS.hex(" "),
        base64.b64encode(OCTETS).decode(),
        repr(OCTETS),
        'b"' + TEXT + '"',
        list(OCTETS),
        {"type": "Buffer", "data": list(OCTETS)},
        {"message": {"type": "Buffer", "data": list(OCTETS)}},
        [{"message": TEXT}],
        list(packed(TEXT)),
        packed(TEXT).hex(),
        TEXT.encode("utf-16-be").hex(),
        OCTETS.decode("utf-16-be"),
        "".join("\0" + character for character in TEXT),
    ],
)
@pytest.mark.parametrize("place", ["short_message", "message_payload"])
def test_octets_are_read_however_they_are_written(written, place, context):
    event = one({**pdu(""), place: written}, context)
    assert (event.message_id, event.status) == ("smpp:1f", "received_on_mobile")


@pytest.mark.parametrize(
    "payload",
    [
        {"esmClass": 4, "shortMessage": TEXT, "sourceAddr": "46700000001"},
        {
            "name": "deliver_sm",
            "esmClass": 4,
            "shortMessage": list(OCTETS),
            "sourceAddress": {"ton": 1, "npi": 1, "address": "46700000001"},
        },
        {
            "CommandID": 5,
            "EsmClass": 4,
            "SourceAddr": {"Ton": 1, "Address": "46700000001"},
            "Message": {"Message": TEXT},
            "OptionalParameters": {"30": {"Tag": 30, "Data": "MWYA"}, "1063": {"Tag": 1063, "Data": "Ag=="}},
        },
        {"command_id": 5, "mandatory": {"esm_class": 4, "short_message": TEXT, "source_addr": "46700000001"}},
        {
            "command_id": 5,
            "mandatory": {"esm_class": 4, "short_message": "", "source_addr": "46700000001"},
            "optional": {"30": "1f", "1063": 2},
        },
        {"id": "1f", "stat": "DELIVRD", "message": TEXT, "esmClass": 4, "source": "46700000001"},
        {**pdu(repr(OCTETS)), "receipted_message_id": "b'1f\\x00'", "message_state": 2},
        {**pdu(""), "receipted_message_id": "1f", "message_state": "MessageState.DELIVERED"},
        {**pdu(""), "optional": {"0424": TEXT}},
        {**pdu(TEXT), "esm_class": "SMSC_DELIVERY_RECEIPT"},
        {**pdu(TEXT), "esm_class": {"mode": "DEFAULT", "type": "SMSC_DELIVERY_RECEIPT", "gsmFeatures": []}},
        {**pdu(""), "optionalParameters": [{"tag": 30, "value": [49, 102, 0]}, {"tag": 1063, "value": [2]}]},
    ],
)
def test_a_pdu_is_read_as_libraries_write_it(payload, context):
    event = one(payload, context)
    assert (event.message_id, event.status) == ("smpp:1f", "received_on_mobile")
    assert event.recipient == "46700000001"


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("NOT DELIVERED", "failed"),
        ("DELIVERY FAILED", "failed"),
        ("DELIVRD.", "received_on_mobile"),
        ("UNDEL", "failed"),
        ("EXPIR", "failed"),
        ("PDLIVRD", "taken_into_account"),
        ("UNDETRM", "taken_into_account"),
        ("AWAITED-DLR", "taken_into_account"),
        ("NEW", "taken_into_account"),
        ("DLIVRD", "received_on_mobile"),
        ("NO-CREDITS", "failed"),
        ("INV-NUMBER", "failed"),
        ("SERVER-ERR", "failed"),
        ("SNDRID-NOT-ALLOTED", "failed"),
    ],
)
def test_states_of_several_words_or_cut_short(word, status, context):
    assert one(pdu(f"id:1 stat:{word} err:000 text:"), context).status == status


@pytest.mark.parametrize("word", ["UNKNOWN", "DELIVERY", "DELIV", "DELIVERY TROUBLE", "NOT SURE"])
def test_a_word_that_may_be_of_two_states_says_nothing(word, context):
    (found,) = read("smpp", pdu(f"id:1 stat:{word} err:000 text:"), context)
    assert isinstance(found, Unknown)


@pytest.mark.parametrize("mark", ["\ufeff", "\ufffe", "\xfe\xff", "\xff\xfe"])
def test_a_byte_order_mark_is_no_part_of_a_field(mark, context):
    octets = TEXT.encode("utf-16-be").decode("latin-1")
    assert one(pdu(mark + (TEXT if len(mark) == 1 else octets)), context).message_id == "smpp:1f"


def test_an_id_of_one_octet_is_a_character(context):
    payload = pdu(TEXT, tlv={"receipted_message_id": [55], "message_state": 2})
    assert one(payload, context).message_id == "smpp:7"


def test_an_id_may_hold_equals_signs(context):
    assert one(pdu("id:YWJj== sub:001 stat:DELIVRD err:000"), context).message_id == "smpp:YWJj=="


def test_what_the_subscriber_wrote_is_no_field(context):
    event = one(pdu("id:1 stat:UNDELIV err:000 text:id:2 stat:DELIVRD"), context)
    assert (event.message_id, event.status) == ("smpp:1", "failed")


def test_of_a_subscribers_message_the_text_is_not_taken_apart(context, monkeypatch):
    monkeypatch.setattr("processor.providers.smpp_pdu.read_receipt", None)
    pdu = {"pdu": "deliver_sm", "esm_class": 0, "short_message": "identify the status"}
    assert read("smpp", pdu, context) == [NoStatus("mobile originated")]


class TestNotations:
    """Some centres answer a submit_sm with a decimal id, and write it in hex in receipts, or the reverse."""

    def id_of(self, context, notations, text_id, tlv_id=None, account=""):
        tlv = {} if tlv_id is None else {"receipted_message_id": tlv_id, "message_state": 2}
        context = context._replace(account=account, id_notations={account: notations, "other": "hex/decimal"})
        return one(pdu(TEXT.replace("1f", text_id), tlv=tlv), context).provider_message_id

    @pytest.mark.parametrize(
        ("notations", "text_id", "expected"),
        [
            ("decimal/hex", "38601fa", "59113978"),
            ("decimal/hex", "038601FA", "59113978"),
            ("decimal/hex", "10", "16"),
            ("decimal/hex", "0", "0"),
            ("hex/decimal", "0059113978", "38601fa"),
            ("hex/decimal", "16", "10"),
            # No number in that notation: it stays as it is.
            ("decimal/hex", "m-17", "m-17"),
            ("hex/decimal", "38601fa", "38601fa"),
            ("decimal/hex", "f" * 65, "f" * 65),
        ],
    )
    def test_a_receipts_id_becomes_the_one_that_was_submitted(self, context, notations, text_id, expected):
        assert self.id_of(context, notations, text_id) == expected
        assert self.id_of(context, notations, text_id, account="north") == expected

    @pytest.mark.parametrize(
        ("notations", "text_id", "tlv_id", "expected"),
        [
            # By definition the TLV has it as it was submitted.
            ("decimal/hex", "38601fa", "59113978", "59113978"),
            ("hex/decimal", "0059113978", "38601fa", "38601fa"),
            # But this one repeats the text's, and that one is no decimal number.
            ("decimal/hex", "10", "10", "16"),
            ("hex/decimal", "16", "16", "10"),
            ("decimal/hex", "", "38601fa", "59113978"),
        ],
    )
    def test_a_tlv_is_believed_where_it_can_be(self, context, notations, text_id, tlv_id, expected):
        assert self.id_of(context, notations, text_id, tlv_id) == expected

    def test_other_accounts_ids_stay_as_they_are(self, context):
        context = context._replace(account="south", id_notations={"north": "decimal/hex"})
        assert one(pdu(TEXT), context).message_id == "smpp@south:1f"
