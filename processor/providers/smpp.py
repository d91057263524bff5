"""Read SMPP delivery receipts: a deliver_sm as a JSON object, or the receipt's text alone.

The object: `{"pdu": "deliver_sm", "esm_class": 4, "short_message": "id:… stat:…", "source_addr": "4670…", "tlv": {…}}`.
TLV keys are names or tags ("message_state", "0x0427", "1063"). What Cloudhopper, gosmpp, node-smpp, php-smpp, smppex
and smpplib make of a PDU as JSON is read as well: other spellings of the names, fields one level deeper, octets as
numbers, hex, base64 or `b'…'`.

Source: SMPP 3.4 appendix B (receipt text), 5.2.12 (esm_class), 5.2.28 (message_state), 5.3.2 (TLVs); SMPP 5.0 adds
the states SCHEDULED and SKIPPED.

In its configuration: `registered_delivery` with each submit_sm, and a gateway that publishes each deliver_sm; it may
put our ids beside the PDU's fields.

Signature: none: it is a session.

Traps: some centres answer a submit_sm with a decimal id and write it in hex in receipts, or the reverse: set
`DELIVERY_SMPP_ID_NOTATIONS` for their accounts. `err:` is each operator's own: it is kept as `reason.provider_code`
and not interpreted. Dates have no zone. One receipt comes for each part of a long message, and says which only by the
TLVs or the header (UDH) of the part, where it inherits them. UNDELIV comes with `dlvrd:001` as well.
"""

from __future__ import annotations

from processor.domain.reason import Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, NoStatus, PayloadError, Unknown
from processor.providers.fields import MAX_ID, required, text_of
from processor.providers.identity import event_of, ours_in
from processor.providers.reasons import GSM_MAP, qualify_by_code
from processor.providers.smpp_pdu import Pdu, address_of, is_hex, pdu_of
from processor.providers.smpp_receipt import STATES, state_of

TABLE = STATES

_GSM = 3


def read(element: object, context: Context) -> list[Finding]:
    """Read one deliver_sm, or one receipt text."""
    pdu = pdu_of(element, context)
    if pdu.kind is not None and pdu.kind.lower() not in ("deliver_sm", "data_sm"):
        return [Unknown(pdu.kind)]
    if not _is_receipt(pdu, context):
        if pdu.kind is not None or pdu.esm_class is not None:
            return [NoStatus("mobile originated")]
        raise PayloadError("no receipt: neither esm_class, nor message_state, nor a text with 'id:' and 'stat:'")
    native = _state(pdu)
    means = STATES.get(native)
    if means is None:
        return [Unknown(native)]
    notations = context.id_notations.get(context.account) if context.id_notations else None
    told = _message_id(pdu, notations)
    native_id = required(told if len(told) <= MAX_ID else "", "message id (neither TLV nor 'id:')")
    # A receipt has no place for our own ids; a gateway that knows them puts them beside the PDU's fields.
    ours = ours_in(context, pdu.fields)
    if pdu.part is not None:
        ours = ours._replace(part=pdu.part[0], parts=pdu.part[1])
    if means.status is Status.TAKEN_INTO_ACCOUNT or pdu.is_intermediate:
        means = _as_attempt(means, pdu)
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=context.received,
            status=means.status,
            recipient=address_of(pdu.fields.get("source_addr")),
            reason=_reason(native, means, pdu),
        )
    ]


def _is_receipt(pdu: Pdu, context: Context) -> bool:
    """Return whether a deliver_sm is a receipt: by esm_class, by a TLV that only receipts have, or by its text.

    A subscriber may write "id:77 stat:UNDELIV": where esm_class says that it is a message, the text counts for nothing,
    unless a setting says that this centre sends its receipts so.
    """
    if pdu.state or pdu.receipted_message_id:
        return True
    has_text = bool(pdu.receipt.id and pdu.receipt.stat)
    if pdu.esm_class is None:
        return has_text
    if pdu.is_of_receipt:
        return True
    return has_text and context.receipts_by_text


def _message_id(pdu: Pdu, notations: str | None) -> str:
    """Return the id as submit_sm_resp gave it.

    By definition that is the TLV's; the text's may be the same number in another notation (0059113978 is 38601fa in
    hex), and stays findable in the reason's text.

    Args:
        pdu: one receipt.
        notations: the account's notation in submit_sm_resp and in receipts, where they differ: "decimal/hex".
    """
    told = pdu.receipted_message_id
    if len(told) > MAX_ID:
        told = ""
    if notations is None:
        return told or pdu.receipt.id
    # A centre that repeats the text's id in the TLV has not given it as submit_sm_resp did.
    is_as_submitted = told and told != pdu.receipt.id and (told.isdecimal() or notations.startswith("hex"))
    return told if is_as_submitted else _as_submitted(told or pdu.receipt.id, notations)


def _as_submitted(native_id: str, notations: str) -> str:
    """Return a receipt's id in the notation of submit_sm_resp; as it is, where it is no number in its own."""
    if len(native_id) > _MAX_DIGITS or not native_id.isascii():
        return native_id
    if notations == "decimal/hex":
        return str(int(native_id, 16)) if native_id and is_hex(native_id) else native_id
    return f"{int(native_id):x}" if native_id.isdecimal() else native_id


#: Digits of an id that is a number; the time to convert one grows with their square.
_MAX_DIGITS = 64


def _state(pdu: Pdu) -> str:
    """Return the state: what the TLV says, unless that is nothing that is known; else the text's word.

    Raises:
        PayloadError: neither says anything.
    """
    word = pdu.state or pdu.receipt.stat
    if not word:
        raise PayloadError("a receipt without a state (neither message_state nor 'stat:')")
    state = state_of(word)
    if state not in STATES and pdu.receipt.stat:
        by_text = state_of(pdu.receipt.stat)
        return by_text if by_text in STATES else state
    return state


def _as_attempt(means: Means, pdu: Pdu) -> Means:
    """Take what is told of an attempt for that: the centre goes on trying after it."""
    if pdu.is_intermediate and means.status is not Status.TAKEN_INTO_ACCOUNT:
        permanence = Permanence.TRANSIENT if means.status is Status.FAILED else None
        return Means(Status.TAKEN_INTO_ACCOUNT, permanence, means.category)
    if means.status is Status.TAKEN_INTO_ACCOUNT and _error(pdu):
        return means._replace(permanence=Permanence.TRANSIENT)
    return means


def _error(pdu: Pdu) -> str:
    """Return the error, or "" where none is told: of the network's TLV, else the text's `err:`."""
    if pdu.network_error is not None:
        return str(pdu.network_error[1]) if pdu.network_error[1] else ""
    return pdu.receipt.err if pdu.receipt.err.strip("0") else ""


def _reason(native: str, means: Means, pdu: Pdu) -> Reason:
    permanence, category = means.permanence, means.category
    code, row = pdu.receipt.err, None
    text = text_of(pdu.receipt.head)
    if pdu.network_error is not None:
        network, error = pdu.network_error
        code = str(error)
        row = GSM_MAP.get(error) if network == _GSM else None
    if permanence is not None:
        # The other states of failure say by themselves how final they are.
        permanence, category = qualify_by_code(means, row, text, label_stays=native != "UNDELIV")
    # `err:` has no standard meaning (1 to 4 alphanumerics of the operator's): kept, never interpreted.
    return Reason(
        permanence=permanence,
        category=category,
        code=native,
        provider_code=code or None,
        text=text,
    )


ADAPTER = Adapter("smpp", Channel.SMS, TABLE, read)
