"""Read a deliver_sm out of what gateways and libraries make of a PDU as JSON: its fields, its TLVs and their octets."""

from __future__ import annotations

import binascii
import re
from typing import Any, NamedTuple

from processor.domain.event import MAX_PARTS
from processor.providers.adapter import Context
from processor.providers.fields import identifier, object_of, text_of
from processor.providers.smpp_receipt import MESSAGE_STATES, NO_RECEIPT, Receipt, read_receipt, written_out_bytes

#: TLVs in use here, by tag (5.3.2).
_TAGS = {
    0x001E: "receipted_message_id",
    0x0423: "network_error_code",
    0x020E: "sar_total_segments",
    0x020F: "sar_segment_seqnum",
    0x0424: "message_payload",
    0x0427: "message_state",
}
#: Where gateways put the TLVs, when they do not stand beside the PDU's fields.
_TLV_NAMES = ("tlv", "tlvs", "optional_parameters", "optionalParameters", "optional_params", "optional")
#: TLVs that only receipts have.
_OF_RECEIPTS = frozenset({"receipted_message_id", "message_state"})
_NAMED_TLVS, _PLACES_OF_TLVS = frozenset(_TAGS.values()), frozenset(_TLV_NAMES)
#: Where gateways put the PDU's name.
_KIND_NAMES = ("pdu", "command", "command_name")
#: Where smppex puts the fields that are no TLVs.
_MANDATORY = "mandatory"
#: Names of fields as other libraries write them, in lower case and without what joins words.
_SPELLINGS = {
    "shortmessage": "short_message",
    "message": "short_message",
    "esmclass": "esm_class",
    "sourceaddr": "source_addr",
    "sourceaddress": "source_addr",
    "source": "source_addr",
    "commandname": "command_name",
    "name": "command_name",
    "tlvparameters": "tlv",
    "optionalparameters": "optional_parameters",
    "optionalparams": "optional_params",
}

# esm_class, bits 5 to 2: what kind of message. A receipt, or an intermediate notification.
_KIND_BITS = 0x3C
_RECEIPT, _INTERMEDIATE = 0x04, 0x20
#: What libraries that name the kinds have in their names.
_KINDS = (("INTERMEDIATE", _INTERMEDIATE), ("RECEIPT", _RECEIPT), ("DEFAULT", 0))


class Pdu(NamedTuple):
    """What one deliver_sm says."""

    #: The PDU's name; None: the text came alone, or without one.
    kind: str | None
    esm_class: int | None
    receipt: Receipt
    #: The TLV's word for the state, or "" where there is none.
    state: str
    receipted_message_id: str
    network_error: tuple[int, int] | None
    #: Which part of how many.
    part: tuple[int, int] | None
    fields: dict[str, Any]

    @property
    def is_of_receipt(self) -> bool:
        """Whether esm_class says that it is a receipt, or tells of an attempt."""
        return self.esm_class is not None and self.esm_class & _KIND_BITS in (_RECEIPT, _INTERMEDIATE)

    @property
    def is_intermediate(self) -> bool:
        """Whether it tells of an attempt, and not of the end."""
        return self.esm_class is not None and self.esm_class & _KIND_BITS == _INTERMEDIATE


def pdu_of(element: object, context: Context) -> Pdu:
    """Read a PDU as a gateway or a library writes it, or the text of a receipt alone."""
    is_text = isinstance(element, str) and not element.lstrip().startswith(("{", "["))
    fields: dict[str, Any] = {"short_message": element} if is_text else _spelt_out(object_of(element))
    kind = None
    for name in _KIND_NAMES:
        if name in fields and (kind := text_of(fields[name])) is not None:
            break
    tlv = _tlvs_in(fields)
    esm_class = _esm_class(fields.get("esm_class"))
    # Of a subscriber's message the text says nothing here, and to look for a receipt in it takes long.
    is_message = esm_class is not None and esm_class & _KIND_BITS not in (_RECEIPT, _INTERMEDIATE)
    if is_message and not context.receipts_by_text and _OF_RECEIPTS.isdisjoint(tlv):
        return Pdu(kind, esm_class, NO_RECEIPT, "", "", None, None, fields)
    receipt = read_receipt(_text(fields.get("short_message")))
    if not (receipt.id and receipt.stat) and "message_payload" in tlv:
        receipt = max(
            (receipt, read_receipt(_text(tlv["message_payload"]))),
            key=lambda receipt: (bool(receipt.id) + bool(receipt.stat), len(receipt.head)),
        )
    if not tlv:
        return Pdu(kind, esm_class, receipt, "", "", None, receipt.part, fields)
    return Pdu(
        kind=kind,
        esm_class=esm_class,
        receipt=receipt,
        state=_message_state(tlv["message_state"]) if "message_state" in tlv else "",
        receipted_message_id=_text(tlv["receipted_message_id"]).partition("\0")[0].strip()
        if "receipted_message_id" in tlv
        else "",
        network_error=_network_error(tlv["network_error_code"]) if "network_error_code" in tlv else None,
        part=(_part(tlv) if "sar_segment_seqnum" in tlv else None) or receipt.part,
        fields=fields,
    )


def _spelt_out(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields by the names that SMPP has for them, however a library spells and nests them."""
    if "short_message" in fields or "esm_class" in fields:
        return fields
    nested = fields.get(_MANDATORY)
    if isinstance(nested, dict):
        return {**fields, **nested}
    spelt: dict[str, Any] = {}
    for name, value in fields.items():
        plain = name.lower().replace("_", "")
        spelt.setdefault(_SPELLINGS.get(plain) or _TLV_SPELLINGS.get(plain, name), value)
    return spelt


_TLV_SPELLINGS = {name.replace("_", ""): name for name in _TAGS.values()}


def _tlvs_in(fields: dict[str, Any]) -> dict[str, object]:
    """Take the TLVs by name: out of an object or a list of their own, else from beside the PDU's fields."""
    named: dict[str, object] = {}
    if not _NAMED_TLVS.isdisjoint(fields):
        named = {name: fields[name] for name in _NAMED_TLVS & fields.keys()}
    if _PLACES_OF_TLVS.isdisjoint(fields):
        return named
    for place in _TLV_NAMES:
        tlvs = fields.get(place)
        if isinstance(tlvs, list):
            tlvs = dict(map(_tlv_of, filter(_is_object, tlvs)))
        if isinstance(tlvs, dict):
            for key, value in tlvs.items():
                told = _tlv_of(value)[1] if isinstance(value, dict) and "type" not in value else value
                named[key if key in _NAMED_TLVS else _tlv_name(key)] = told
    return named


def _tlv_name(key: str) -> str:
    """Return a TLV's name, however it is spelt, or told by its tag; what is of no use here keeps its own."""
    name = _TLV_SPELLINGS.get(key.lower().replace("_", ""))
    tag = _tag(key) if name is None else None
    return name or (key if tag is None else _TAGS.get(tag, key))


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _tag(key: str) -> int | None:
    """Read a TLV's tag: decimal, or hex with 0x or the zeros of two whole octets ("0424")."""
    return int(key, 16) if len(key) == 4 and key.startswith("0") and is_hex(key) else _number(key)


def is_hex(text: str) -> bool:
    """Return whether all of a text are hexadecimal digits."""
    return all(digit in "0123456789abcdefABCDEF" for digit in text)


def _tlv_of(tlv: dict[str, Any]) -> tuple[str, object]:
    """Take the tag, or name, and the value of a TLV that is an object; Go writes the octets of its `Data` in base64."""
    by_name = {name.lower(): value for name, value in tlv.items()}
    value = by_name.get("value", by_name.get("message"))
    if isinstance(by_name.get("data"), str):
        try:
            value = list(binascii.a2b_base64(by_name["data"]))
        except ValueError:
            value = by_name["data"]
    elif value is None:
        value = by_name.get("data")
    return str(by_name.get("tag", by_name.get("name"))), value


def _esm_class(value: object) -> int | None:
    """Read esm_class: a number in any notation, or what a library calls the kind of message."""
    number = _number(value)
    if number is not None or value is None:
        return number
    words = str(value)[:_MAX_WORDS].upper()
    return next((kind for word, kind in _KINDS if word in words), None)


_MAX_WORDS = 200


def address_of(value: object) -> str | None:
    """Take an address; some libraries put it into an object, with its type of number and numbering plan."""
    if isinstance(value, dict):
        value = value.get("address") or value.get("Address") or value.get("addr") or value.get("Addr")
    return identifier(value)


def _octets(value: object) -> bytes | None:
    """Take octets that JSON holds as a list of numbers, or as Node.js writes a Buffer; None when it is none.

    Java's octets have a sign.
    """
    if isinstance(value, dict) and value.get("type") == "Buffer":
        value = value.get("data")
    if isinstance(value, list) and value and all(type(octet) is int and -128 <= octet < 256 for octet in value):
        return bytes(octet & 0xFF for octet in value)
    return None


def _text(value: object) -> str:
    """Take a text in any of the shapes that libraries give it; "" when there is none."""
    if isinstance(value, str):
        return value if value[:2] not in ("b'", 'b"') else written_out_bytes(value) or value
    for _ in range(2):
        # node-smpp: {"message": "…", "udh": […]}, and a list of these where the message has parts; gosmpp: "Message".
        if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], int):
            value = value[0]
        if isinstance(value, dict):
            value = value.get("message", value.get("Message", value))
    if isinstance(value, str):
        return value
    octets = _octets(value)
    if octets is not None:
        return octets.decode("latin-1")
    return str(value) if type(value) is int and 0 <= value < 10**30 else ""


def _number(value: object) -> int | None:
    """Read a whole number that may come as text, decimal or with 0x, or as one octet."""
    if type(value) is int:
        return value
    if isinstance(value, str):
        if len(value) > 10:
            return None
        try:
            return int(value, 16 if value[:2].lower() == "0x" else 10)
        except ValueError:
            return None
    octets = _octets(value)
    return octets[0] if octets is not None and len(octets) == 1 else None


def _message_state(value: object) -> str:
    """Read message_state: a number, in any notation, or its name; "" when there is none."""
    number = _number(value)
    if number is not None:
        return MESSAGE_STATES.get(number, f"message_state {number}")
    return text_of(value) or ""


def _part(tlv: dict[str, object]) -> tuple[int, int] | None:
    """Take the part that the TLVs of a concatenated message tell of (5.3.2.23, 5.3.2.24)."""
    number, parts = _number(tlv.get("sar_segment_seqnum")), _number(tlv.get("sar_total_segments"))
    return (number, parts) if number is not None and parts is not None and 1 <= number <= parts <= MAX_PARTS else None


def _network_error(value: object) -> tuple[int, int] | None:
    """Read network_error_code (5.3.2.31): one octet of network type, two of error; as a number, hex or octets."""
    octets = _octets(value)
    if octets is not None and len(octets) == 3:
        return octets[0], octets[1] << 8 | octets[2]
    if isinstance(value, str) and re.fullmatch(r"(?:0x)?[0-9a-fA-F]{6}", value):
        value = int(value, 16)
    if type(value) is int and 0 < value <= 0xFFFFFF:
        return value >> 16, value & 0xFFFF
    return None
