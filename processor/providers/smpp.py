"""Read SMPP delivery receipts: a deliver_sm as a JSON object, or the receipt's text alone.

The object: `{"pdu": "deliver_sm", "esm_class": 4, "short_message": "id:… stat:…", "source_addr": "4670…", "tlv": {…}}`.
TLV keys are names or tags ("message_state", "0x0427", "1063").

Source: SMPP 3.4 appendix B (receipt text), 5.2.12 (esm_class), 5.2.28 (message_state), 5.3.2 (TLVs); SMPP 5.0 adds
the states SCHEDULED and SKIPPED.

In its configuration: `registered_delivery` with each submit_sm, and a gateway that publishes each deliver_sm; it may
put our ids beside the PDU's fields.

Signature: none: it is a session.

Traps: `err:` is each operator's own. Dates have no zone. One receipt comes for each part of a long message. UNDELIV
comes with `dlvrd:001` as well.
"""

from __future__ import annotations

import re
from typing import Any

from processor.domain.event import Event
from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, NoStatus, PayloadError, Unknown
from processor.providers.fields import identifier, message_key, object_of, own_id, part_of, required, text_of
from processor.providers.reasons import GSM_MAP

TABLE: dict[str, Means | None] = {
    # Not yet tried: the centre holds it until its date, so it is no longer pending with us.
    "SCHEDULED": Means(Status.TAKEN_INTO_ACCOUNT),
    # The centre is trying, or waits to try again.
    "ENROUTE": Means(Status.TAKEN_INTO_ACCOUNT),
    # Read by customer service on the subscriber's behalf; in practice: the centre or the next one has it.
    "ACCEPTD": Means(Status.TAKEN_INTO_ACCOUNT),
    # Delivered to the handset.
    "DELIVRD": Means(Status.RECEIVED_ON_MOBILE),
    # Its validity period ran out.
    "EXPIRED": Means(Status.FAILED, Permanence.GAVE_UP, Category.UNREACHABLE),
    # Deleted in the centre, by an operator or by cancel_sm.
    "DELETED": Means(Status.FAILED, Permanence.PERMANENT),
    # Undeliverable.
    "UNDELIV": Means(Status.FAILED, Permanence.PERMANENT, Category.UNREACHABLE),
    # Rejected.
    "REJECTD": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # Not sent, deliberately.
    "SKIPPED": Means(Status.FAILED, Permanence.PERMANENT),
}

#: message_state (5.2.28) -> the word that a receipt's text uses. UNKNOWN has no row above: it says nothing.
MESSAGE_STATES: dict[int, str] = {
    0: "SCHEDULED",
    1: "ENROUTE",
    2: "DELIVRD",
    3: "EXPIRED",
    4: "DELETED",
    5: "UNDELIV",
    6: "ACCEPTD",
    7: "UNKNOWN",
    8: "REJECTD",
    9: "SKIPPED",
}

#: Words in use for the same states.
_ALIASES = {"DELIVERED": "DELIVRD", "UNDELIVERABLE": "UNDELIV", "ACCEPTED": "ACCEPTD", "REJECTED": "REJECTD"}

#: TLVs in use here, by tag (5.3.2).
_TAGS = {
    0x001E: "receipted_message_id",
    0x0423: "network_error_code",
    0x0424: "message_payload",
    0x0427: "message_state",
}

# esm_class, bits 5 to 2: what kind of message. A receipt, or an intermediate notification.
_KIND_BITS = 0x3C
_RECEIPT_KINDS = (0x04, 0x20)

# A field of the receipt. Only what stands before "text:" is searched, so that a message cannot forge a field.
_FIELD = re.compile(r"(?:^|(?<=\s))(id|stat|err)\s?:(?:\s(?!\w{1,12}\s?:))?(\S*)", re.IGNORECASE)
_TEXT = re.compile(r"text\s?:", re.IGNORECASE)
# A receipt is 160 characters at most; ids of other providers are longer, but no receipt is longer than this.
_MAX_RECEIPT = 1000

_GSM = 3


def read(element: object, context: Context) -> list[Finding]:
    """Read one deliver_sm, or one receipt text."""
    alone = isinstance(element, str) and not element.lstrip().startswith(("{", "["))
    pdu: dict[str, Any] = {"short_message": element} if alone else object_of(element)
    kind = text_of(pdu.get("pdu"))
    if kind is not None and kind.lower() not in ("deliver_sm", "data_sm"):
        return [Unknown(kind)]
    tlv = _tlvs(part_of(pdu, "tlv"))
    head, fields = _receipt(pdu.get("short_message") or tlv.get("message_payload"))
    state = _state(tlv.get("message_state"))
    esm_class = _number(pdu.get("esm_class"))
    is_receipt = esm_class is not None and esm_class & _KIND_BITS in _RECEIPT_KINDS
    if not is_receipt and state is None and not ("id" in fields and "stat" in fields):
        if kind is not None or esm_class is not None:
            return [NoStatus("mobile originated")]
        raise PayloadError("no receipt: neither esm_class, nor message_state, nor a text with 'id:' and 'stat:'")

    native = state or fields.get("stat", "").upper()
    if not native:
        raise PayloadError("a receipt without a state (neither message_state nor 'stat:')")
    native = _ALIASES.get(native, native)
    means = TABLE.get(native)
    if means is None:
        return [Unknown(native)]
    # By definition the TLV has the id as submit_sm_resp gave it; the text's may be the same number in another notation
    # (0059113978 is 38601fa in hex). The TLV wins, and the text's id stays findable in the reason's text.
    native_id = required(tlv.get("receipted_message_id") or fields.get("id"), "message id (neither TLV nor 'id:')")
    # A receipt has no place for our own ids; a gateway that knows them puts them beside the PDU's fields.
    own = own_id(context.message_id_names, pdu)
    return [
        Event(
            time=context.received,
            message_id=message_key("smpp", native_id, own, None, shared=False),
            channel=Channel.SMS,
            status=means.status,
            delivery_id=own_id(context.delivery_id_names, pdu),
            provider="smpp",
            provider_message_id=native_id,
            recipient=identifier(pdu.get("source_addr")),
            reason=_reason(native, means, tlv.get("network_error_code"), fields.get("err"), head),
        )
    ]


def _receipt(text: object) -> tuple[str | None, dict[str, str]]:
    """Give the part of a receipt before `text:`, and its fields; the first of each name counts."""
    if not isinstance(text, str):
        return None, {}
    text = text[:_MAX_RECEIPT].replace("\0", " ")
    end = _TEXT.search(text)
    head = text[: end.start()] if end else text
    fields: dict[str, str] = {}
    for match in _FIELD.finditer(head):
        fields.setdefault(match[1].lower(), _unpad(match[2]))
    return text_of(head), fields


def _unpad(value: str) -> str:
    """Take the padding off the end: not ASCII, or the "@" that a NUL becomes in the GSM alphabet."""
    end = len(value)
    while end and not ("!" <= value[end - 1] <= "~" and value[end - 1] != "@"):
        end -= 1
    return value[:end]


def _tlvs(tlv: dict[str, Any]) -> dict[str, object]:
    named: dict[str, object] = {}
    for key, value in tlv.items():
        tag = _number(key)
        named[_TAGS.get(tag, key) if tag is not None else key.lower()] = value
    return named


def _number(value: object) -> int | None:
    """Read a whole number that may come as text, decimal or with 0x."""
    if type(value) is int:
        return value
    if isinstance(value, str) and len(value) <= 10:
        try:
            return int(value, 16 if value[:2].lower() == "0x" else 10)
        except ValueError:
            return None
    return None


def _state(value: object) -> str | None:
    """Read message_state: a number, in any notation, or its name."""
    number = _number(value)
    if number is not None:
        return MESSAGE_STATES.get(number, f"message_state {number}")
    name = text_of(value)
    return name.upper() if name is not None else None


def _network_error(value: object) -> tuple[int, int] | None:
    """Read network_error_code (5.3.2.31): one octet of network type, two of error; as a number, hex or bytes."""
    if isinstance(value, list) and len(value) == 3 and all(type(octet) is int for octet in value):
        return value[0], value[1] << 8 | value[2]
    if isinstance(value, str) and re.fullmatch(r"(?:0x)?[0-9a-fA-F]{6}", value):
        value = int(value, 16)
    if type(value) is int and 0 < value <= 0xFFFFFF:
        return value >> 16, value & 0xFFFF
    return None


def _reason(native: str, means: Means, network_error: object, err: str | None, head: str | None) -> Reason:
    permanence, category = means.permanence, means.category
    found = _network_error(network_error)
    if found is not None:
        network, error = found
        err = str(error)
        if network == _GSM and error in GSM_MAP and means.status is Status.FAILED:
            how_final, category = GSM_MAP[error]
            # The other states of failure say by themselves how final they are.
            permanence = how_final if native == "UNDELIV" else permanence
    # `err:` has no standard meaning (1 to 4 alphanumerics of the operator's): kept, never interpreted.
    return Reason(permanence=permanence, category=category, code=native, provider_code=err or None, text=head)


ADAPTER = Adapter("smpp", Channel.SMS, TABLE, read)
