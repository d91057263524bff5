"""Read the text of an SMPP delivery receipt, and the words that it uses for the states of a message.

SMPP 3.4, appendix B, describes the text and calls it vendor specific: centres and gateways use more words for the same
states, other separators, and other encodings than it shows. Shared by the adapters of SMPP, Kannel and Jasmin.

Source: SMPP 3.4, appendix B and 5.2.28; SMPP 5.0, 4.7.15 (SCHEDULED, SKIPPED); the tables of states that SMS Central,
PSWinCom, CM.com, Kaleyra, Route Mobile, Ozeki and Huawei Cloud publish; gw/smsc/smsc_smpp.c of Kannel (BUFFRED, ACKED);
jasmin/protocols/smpp/operations.py of Jasmin. 2026-11.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from processor.domain.reason import Category
from processor.domain.status import Permanence, Status
from processor.providers.adapter import Means

_TAKEN = Means(Status.TAKEN_INTO_ACCOUNT)
_PERMANENT, _GAVE_UP = Permanence.PERMANENT, Permanence.GAVE_UP

#: What each state means. UNKNOWN has no row: it says nothing.
STATES: dict[str, Means | None] = {
    # Not yet tried: the centre holds it until its date, so it is no longer pending with us.
    "SCHEDULED": _TAKEN,
    # The centre is trying, or waits to try again. With an error, an attempt has failed.
    "ENROUTE": _TAKEN,
    # The centre or the next one has it.
    "ACCEPTD": _TAKEN,
    # The carrier holds it, and delivers it later.
    "BUFFRED": _TAKEN,
    # Delivered to the handset.
    "DELIVRD": Means(Status.RECEIVED_ON_MOBILE),
    # Its validity period ran out.
    "EXPIRED": Means(Status.FAILED, _GAVE_UP, Category.UNREACHABLE),
    # Deleted in the centre, by an operator or by cancel_sm.
    "DELETED": Means(Status.FAILED, _PERMANENT),
    # Undeliverable.
    "UNDELIV": Means(Status.FAILED, _PERMANENT, Category.UNREACHABLE),
    # It failed at the carrier, for good.
    "FAILED": Means(Status.FAILED, _PERMANENT, Category.UNREACHABLE),
    # Rejected.
    "REJECTD": Means(Status.FAILED, _PERMANENT, Category.REFUSED),
    # Not sent, deliberately.
    "SKIPPED": Means(Status.FAILED, _PERMANENT),
    # The sender's account, or the recipient's prepaid one, has no credit.
    "NOCRED": Means(Status.FAILED, _GAVE_UP, Category.REFUSED),
    # An error of the carrier's or the gateway's system.
    "SYSERR": Means(Status.FAILED, _GAVE_UP, Category.UNREACHABLE),
    # No route to the recipient's network was found.
    "NOROUTE": Means(Status.FAILED, _GAVE_UP, Category.UNREACHABLE),
    # The number is barred, blocked or not in use.
    "BARRED": Means(Status.FAILED, _PERMANENT, Category.ACCOUNT_DISABLED),
    # The number is not one.
    "INVALID": Means(Status.FAILED, _PERMANENT, Category.USER_UNKNOWN),
    # The phone is off or out of coverage.
    "ABSENT": Means(Status.FAILED, _GAVE_UP, Category.NOT_CONNECTED),
    # The recipient, or a register of those who want no messages, forbids it.
    "BLACKLST": Means(Status.FAILED, _PERMANENT, Category.DENYLISTED),
}

#: Other words in use, by the state that they are written for.
_WRITTEN: dict[str, tuple[str, ...]] = {
    "SCHEDULED": ("SCHEDLD", "SCHEDULD", "SCHEDUL", "DELAYED"),
    "ENROUTE": ("EN_ROUTE", "ENROUT", "ENROUTED", "INROUTE", "TRANSIT", "SENT", "SUBMITD", "SUBMITTED", "SUBMIT"),
    "ACCEPTD": ("ACCEPTED", "ACCEPT", "ACPTED", "ACCPTD", "ACCEPTE", "ACKED", "ACK"),
    "BUFFRED": (
        "BUFFERD",
        "BUFFERED",
        "BUFFED",
        "BUFERED",
        "QUEUED",
        "QUEUE",
        "ENQUEUE",
        "ENQUEUED",
        "ENQUEUD",
        "PENDING",
        "RETRY",
    ),
    "DELIVRD": ("DELIVERD", "DELIVERED", "DELIVRED", "DELVRD", "DELIVER", "DELIVERY", "DELIVRE", "DELIVED", "DELIVRY"),
    "EXPIRED": ("EXPIRD", "EXPIRE", "EXPIERD", "TTLEXPIRED", "TIMEOUT"),
    "DELETED": ("DELETD", "DELETE", "CANCELD", "CANCELED", "CANCELLED", "CANCELL"),
    "UNDELIV": (
        "UNDELIVERABLE",
        "UNDELIVERED",
        "UNDELIVERD",
        "UNDELIVRD",
        "UNDELVD",
        "UNDLIV",
        "UNDELIVE",
        "UNDLVRD",
        "NOTDELIVERED",
        "NOTDELIVRD",
        "NONDELIV",
        "NDELIV",
    ),
    "FAILED": ("FAIL", "FAILURE", "FAILD", "DFAILED", "NDLVRD"),
    "REJECTD": ("REJECTED", "REJECT", "REJCTD", "REJECTE", "REJECD", "REFUSED", "NACK", "BLOCKED", "BLOCKD", "BARREDA"),
    "SKIPPED": ("SKIPED", "SKIPPD"),
    "NOCRED": ("NOCREDIT", "NOCREDITS", "NO_CREDIT", "NOCRDT", "NOFUNDS", "ZEROBAL", "INSUFBAL"),
    "SYSERR": ("SYSERROR", "SYSTEMERROR", "SYSFAIL", "ERROR", "INTERNAL", "INTERR", "CONGEST"),
    "NOROUTE": ("NO_ROUTE", "UNROUTABLE", "NOROUT"),
    "BARRED": ("CALLBARRED",),
    "INVALID": ("INVALIDNUMBER", "INVALNUM", "INVNUM", "INVDEST", "UNKNOWNSUBSCRIBER", "UNKSUB", "UNKSUBS"),
    "ABSENT": ("ABSENTSUBSCRIBER", "ABSSUB", "ABSNTSUB", "UNREACH", "UNREACHABLE"),
    "BLACKLST": ("BLACKLISTED", "BLACKLIST", "BLKLST", "BLACKLS", "OPTOUT", "OPTEDOUT", "DND", "DNDREJ", "NCPR"),
}
_STATE_OF = {word: state for state, words in _WRITTEN.items() for word in words} | {state: state for state in STATES}

#: message_state (5.2.28) -> the word that a receipt's text uses.
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


def state_of(word: str) -> str:
    """Give the state that a word is written for: a key of STATES; a word that nobody knows stays, in upper case."""
    word = word.strip().upper()
    return _STATE_OF.get(word) or _STATE_OF.get(word.replace("-", "").replace("_", "").replace(" ", ""), word)


class Receipt(NamedTuple):
    """The text of a receipt, taken apart."""

    #: All that stands before the text of the message.
    head: str
    id: str
    #: The word for the state, as it is written there.
    stat: str
    err: str
    #: Which part of how many, by the header (UDH) that the receipt inherits of its message.
    part: tuple[int, int] | None = None


# A field: a name, a colon, and what comes before the next separator. Of the value's front, white space is no part,
# unless the next field follows.
_FIELD = re.compile(
    r"(?:^|(?<=[\s,;]))(id|stat|err)\s{0,3}:(?:\s{1,3}(?!(?:submit |done )?[a-z]{1,12}\s{0,3}:))?([^\s,;]*)",
    re.IGNORECASE,
)
_TEXT = re.compile(r"(?:^|(?<=[\s,;]))text\s{0,3}:", re.IGNORECASE)
# An empty text before the other fields.
_EMPTY_TEXT = re.compile(
    r"text\s{0,3}:[\s,;]{1,3}(?=(?:id|sub|dlvrd|submit date|done date|stat|err)\s{0,3}:)", re.IGNORECASE
)
#: A receipt is 160 characters at most; ids of other providers are longer, but no receipt is longer than this.
_MAX_CHARACTERS = 1000


def read_receipt(text: str) -> Receipt:
    """Take the text of a receipt apart; what is not there is empty. It never raises.

    The first field of each name counts. Only what stands before `text:` is searched, so that a message cannot forge a
    field. Some centres write an empty `text:` before the other fields: then it ends nothing.
    """
    text, part = _as_written(text[:_MAX_CHARACTERS])
    end = _TEXT.search(text)
    head = text[: end.start()] if end else text
    fields = _fields_in(head)
    if end is not None and not ("id" in fields and "stat" in fields) and _EMPTY_TEXT.match(text, end.start()):
        head, fields = text, _fields_in(text)
    return Receipt(head, fields.get("id", ""), fields.get("stat", ""), fields.get("err", ""), part)


def _fields_in(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for match in _FIELD.finditer(text):
        fields.setdefault(match[1].lower(), _unpadded(match[2]))
    return fields


def _unpadded(value: str) -> str:
    """Take the padding off the end: not ASCII, or the "@" that a NUL becomes in the GSM alphabet."""
    end = len(value)
    while end and not ("!" <= value[end - 1] <= "~" and value[end - 1] != "@"):
        end -= 1
    return value[:end]


def _as_written(text: str) -> tuple[str, tuple[int, int] | None]:
    """Undo what a wrong reading of octets did to a receipt, which is plain ASCII.

    A receipt inherits `data_coding` and `esm_class` of its message: so its octets are read as UCS-2, or UCS-2 as
    octets, or the header of a part (UDH) stands in front.

    Returns:
        The text, and the part that its header tells of.
    """
    text, part = _without_header(text)
    if "\0" in text and text.count("\0") * 3 > len(text):
        # UCS-2 that was read octet by octet: every other one is NUL.
        text = text.replace("\0", "")
    elif not _FIELD.search(text):
        for encoding in ("utf-16-be", "utf-16-le"):
            found, told = _without_header(text.encode(encoding, errors="surrogatepass").decode("latin-1"))
            if _FIELD.search(found):
                text, part = found, told
                break
    return text.replace("\0", " "), part


def _without_header(text: str) -> tuple[str, tuple[int, int] | None]:
    """Leave out a user data header: an octet of its length, then elements of a tag, a length and data."""
    if not text or not 2 < (length := ord(text[0])) < 32 or len(text) <= length + 1:
        return text, None
    at, part = 1, None
    while at < length:
        size = ord(text[at + 1])
        if ord(text[at]) in _CONCATENATED and size >= 3:
            # The last two octets: how many parts there are, and which this is (3GPP TS 23.040, 9.2.3.24.1 and .8).
            parts, number = ord(text[at + size]), ord(text[at + size + 1])
            part = (number, parts) if 1 <= number <= parts <= 255 else None
        at += 2 + size
    return (text[length + 1 :], part) if at == length + 1 else (text, None)


#: Elements of a header that tell the part: with a reference of 8 bits, and of 16.
_CONCATENATED = (0x00, 0x08)
