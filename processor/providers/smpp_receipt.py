"""Read the text of an SMPP delivery receipt, and the words that it uses for the states of a message.

SMPP 3.4, appendix B, describes the text and calls it vendor specific: centres and gateways use more words for the same
states, other separators, and other encodings than it shows. Shared by the adapters of SMPP, Kannel and Jasmin.

Source: SMPP 3.4, appendix B and 5.2.28; SMPP 5.0, 4.7.15 (SCHEDULED, SKIPPED); the tables of states that SMS Central,
PSWinCom, CM.com, Kaleyra, Route Mobile, Ozeki, Mobizon, Upside Wireless and Huawei Cloud publish;
gw/smsc/smsc_smpp.c of Kannel (BUFFRED, ACKED); jasmin/protocols/smpp/operations.py of Jasmin. 2026-11.
"""

from __future__ import annotations

import ast
import binascii
import re
from collections.abc import Iterator
from itertools import islice
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
    "SCHEDULED": ("SCHEDLD", "SCHEDULD", "SCHEDUL", "DELAYED", "NEW"),
    "ENROUTE": (
        "EN_ROUTE",
        "ENROUT",
        "ENROUTED",
        "INROUTE",
        "TRANSIT",
        "SENT",
        "SUBMITD",
        "SUBMITTED",
        "SUBMIT",
        "TRANSMITTED",
        "PROCESSED",
        "PROCESSING",
        "INPROGRESS",
        "PROGRESS",
        "AWAITEDDLR",
        # Some parts of it are delivered, not all.
        "PDLIVRD",
    ),
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
        "WAITING",
        "RETRY",
        "RETRYING",
        # Undetermined: the gateway keeps trying.
        "UNDETRM",
    ),
    "DELIVRD": (
        "DELIVERD",
        "DELIVERED",
        "DELIVRED",
        "DELVRD",
        "DELIVER",
        "DELIVRE",
        "DELIVED",
        "DELIVRY",
        "DLIVRD",
        "DLVRD",
    ),
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
        "NOTDELIV",
        "NOTDLVRD",
        "UNDELIVD",
        "UNDLIVRD",
        "DELFAIL",
        "DELIVERYFAILED",
        "DELIVERYFAILURE",
    ),
    "FAILED": ("FAIL", "FAILURE", "FAILD", "DFAILED", "NDLVRD", "NOTSENT"),
    "REJECTD": (
        "REJECTED",
        "REJECT",
        "REJCTD",
        "REJECTE",
        "REJECD",
        "REFUSED",
        "NACK",
        "BLOCKED",
        "BLOCKD",
        "BARREDA",
        "SPAM",
        "SERIESBLK",
        "SERIESBLOCK",
        "SNDRIDNOTALLOTED",
    ),
    "SKIPPED": ("SKIPED", "SKIPPD"),
    "NOCRED": ("NOCREDIT", "NOCREDITS", "NO_CREDIT", "NOCRDT", "NOFUNDS", "ZEROBAL", "INSUFBAL", "OUTOFCREDIT"),
    "SYSERR": (
        "SYSERROR",
        "SYSTEMERROR",
        "SYSFAIL",
        "ERROR",
        "INTERNAL",
        "INTERR",
        "CONGEST",
        "SERVERERR",
        "SERVERERROR",
        "NETERR",
        "NETERROR",
        "NETWORKERROR",
    ),
    "NOROUTE": ("NO_ROUTE", "UNROUTABLE", "NOROUT"),
    "BARRED": ("CALLBARRED",),
    "INVALID": (
        "INVALIDNUMBER",
        "INVALNUM",
        "INVNUM",
        "INVNUMBER",
        "INVDEST",
        "INVALIDDESTINATION",
        "UNKNOWNSUBSCRIBER",
        "UNKSUB",
        "UNKSUBS",
    ),
    "ABSENT": ("ABSENTSUBSCRIBER", "ABSSUB", "ABSNTSUB", "UNREACH", "UNREACHABLE", "MOBOFF"),
    "BLACKLST": (
        "BLACKLISTED",
        "BLACKLIST",
        "BLKLST",
        "BLACKLS",
        "OPTOUT",
        "OPTEDOUT",
        "OPTOUTREJ",
        "DND",
        "DNDREJ",
        "DNDNUMB",
        "NCPR",
    ),
}
_STATE_OF = {word: state for state, words in _WRITTEN.items() for word in words} | {
    state: state for state in (*STATES, "UNKNOWN")
}

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


def _cut_short() -> dict[str, str]:
    """Return the states of words that were cut off, as a field of seven characters does, where one state alone fits."""
    fitting: dict[str, set[str]] = {}
    for word, state in _STATE_OF.items():
        for length in range(_SHORTEST, min(len(word), _LONGEST + 1)):
            fitting.setdefault(word[:length], set()).add(state)
    return {word: next(iter(states)) for word, states in fitting.items() if len(states) == 1}


_SHORTEST, _LONGEST = 5, 7
_STATE_OF = _cut_short() | _STATE_OF
_JOINS = str.maketrans("", "", "-_ ")


def state_of(word: str) -> str:
    """Return the state that a word is written for: a key of STATES; a word that nobody knows stays, in upper case."""
    known = _STATE_OF.get(word)
    if known is not None:
        return known
    word = word.strip(" .\t\r\n").upper()
    # Libraries write the name of an enumeration before it: "MessageState.DELIVERED".
    word = word[word.rfind(".") + 1 :]
    return _STATE_OF.get(word) or _STATE_OF.get(word.translate(_JOINS), word)


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


# What nearly all centres write, as appendix B has it; and the same in another case, which takes longer to look for.
_USUAL = re.compile(
    r"id:([!-+\--:<-~]{1,65}) sub:\d{1,3} dlvrd:\d{1,3} submit date:\d{6,14} done date:\d{6,14}"
    r" stat:([A-Za-z]{1,20}) err:([0-9A-Za-z]{0,5}) [Tt]ext:"
)
_USUAL_IN_ANY_CASE = re.compile(_USUAL.pattern, re.IGNORECASE)
# A field: a name, in other words as well, and a colon or an equals sign. It begins a word; but for `id`, whose name is
# too short to be sure of, it may follow on a value without anything between ("dlvrd:001submit date:…").
_FIELD = re.compile(
    r"(?:^|(?<=[\s,;|{\"'&]))(id|(?:message|msg)[ _]?id)\s{0,3}[:=]"
    r"|(?:^|(?<=[\s,;|{\"'&]))(sub|dlvrd|submit[ _]?date|done[ _]?date|stat(?:e|us)?|err(?:or)?|text)\s{0,3}[:=]"
    r"|(sub|dlvrd|submit date|done date|stat|err|text):",
    re.IGNORECASE,
)
_NAMES = {
    "message id": "id",
    "messageid": "id",
    "msg id": "id",
    "msgid": "id",
    "state": "stat",
    "status": "stat",
    "error": "err",
}
# What ends a value, and what stands around it.
_SEPARATOR = re.compile(r"[\s,;|]")
_AROUND = " \t\r\n,;|\"'{}"
#: A receipt is 160 characters at most; ids of other providers are longer, but no receipt is longer than this.
_MAX_CHARACTERS = 1000
#: Of UCS-2, and as it is misread: octet by octet, or the other way round.
_BYTE_ORDER_MARKS = "\ufeff\ufffe\xfe\xff"
#: It has eight fields; what comes behind these is the text of a message.
_MAX_FIELDS = 24


NO_RECEIPT = Receipt("", "", "", "")


def read_receipt(text: str) -> Receipt:
    """Take the text of a receipt apart; what is not there is empty. It never raises.

    The first field of each name counts. Only what stands before `text:` is searched, so that a message cannot forge a
    field. Some centres write an empty `text:` before the other fields: then it ends nothing.
    """
    if not text:
        return NO_RECEIPT
    usual = _USUAL.match(text) or _USUAL_IN_ANY_CASE.match(text)
    if usual is not None:
        return Receipt(text[: usual.end() - 5], usual[1], usual[2], usual[3])
    text = text[:_MAX_CHARACTERS].lstrip(_BYTE_ORDER_MARKS)
    readings = (reading for reading in _readings(text) if _has_fields(reading))
    found = next((found for found in map(_taken_apart, readings) if found.id and found.stat), None)
    return found or _taken_apart(_without_header(text.replace("\0", " ")))


#: A text, and the part that its header tells of.
_Reading = tuple[str, tuple[int, int] | None]


def _has_fields(reading: _Reading) -> bool:
    """Return whether a reading may have an id and a state: most texts have neither, and need not be taken apart."""
    text = reading[0].lower()
    return "id" in text and "stat" in text


def _taken_apart(reading: _Reading) -> Receipt:
    text, part = reading
    fields: dict[str, str] = {}
    head = text
    matches = list(islice(_FIELD.finditer(text), _MAX_FIELDS))
    for number, match in enumerate(matches, 1):
        end = matches[number].start() if number < len(matches) else len(text)
        name = (match[1] or match[2] or match[3]).lower().replace("_", " ")
        value = text[match.end() : end]
        if name == "text":
            is_empty = number < len(matches) and bool(value) and not value.strip(_AROUND)
            if not is_empty or ("id" in fields and "stat" in fields):
                head = text[: match.start()]
                break
        else:
            fields.setdefault(_NAMES.get(name, name), value)
    told = _word_of(fields.get("id", "")), _state_in(fields.get("stat", "")), _word_of(fields.get("err", ""))
    return Receipt(head, *told, part)


def _word_of(value: str) -> str:
    return _unpadded(_SEPARATOR.split(value.lstrip(_AROUND), 1)[0]).rstrip(_AROUND)


def _state_in(value: str) -> str:
    """Return the word for the state; of several words all, where they are known together ("NOT DELIVERED")."""
    whole = _unpadded(value.strip(_AROUND))
    return whole if " " in whole and state_of(whole) in STATES else _word_of(value)


def _unpadded(value: str) -> str:
    """Take the padding off the end: not ASCII, or the "@" that a NUL becomes in the GSM alphabet."""
    end = len(value)
    while end and not ("!" <= value[end - 1] <= "~" and value[end - 1] != "@"):
        end -= 1
    return value[:end]


# Readings: what a receipt, which is plain ASCII, may have become on its way


def _readings(text: str) -> Iterator[_Reading]:
    """Yield the text as it is, then as it would be if its octets had been misread or written out, most common first.

    A receipt inherits `data_coding` and `esm_class` of its message: so its octets are read as UCS-2, or UCS-2 as
    octets, or the header of a part (UDH) stands in front. Gateways write octets as hex, base64 or Python's `b'…'`.
    """
    yield _without_nul(*_without_header(text))
    for encoding in ("utf-16-be", "utf-16-le"):
        yield _without_nul(*_without_header(text.encode(encoding, errors="surrogatepass").decode("latin-1")))
    octets = _written_out(text)
    if octets is None:
        octets = _octets_of(text)
    if octets is not None:
        yield _without_nul(*_without_header(octets.decode("latin-1")))
        yield _unpacked(octets), None


def _without_nul(text: str, part: tuple[int, int] | None) -> _Reading:
    # UCS-2 that was read octet by octet: every other one is NUL.
    return text.replace("\0", "" if text.count("\0") * 3 > len(text) else " "), part


def _octets_of(text: str) -> bytes | None:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return None


_HEX = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2}[ :]?){20,})")
_BASE64 = re.compile(r"[0-9A-Za-z+/]{28,}={0,2}")
_PYTHON_BYTES = re.compile(r"b(?:'[^']*'|\"[^\"]*\")")


def _written_out(text: str) -> bytes | None:
    """Return the octets that a text is the notation of; None where it is none."""
    text = text.strip()
    python = written_out_bytes(text)
    if python is not None:
        return python.encode("latin-1")
    try:
        hexadecimal = _HEX.fullmatch(text)
        if hexadecimal is not None:
            return bytes.fromhex(hexadecimal[1].replace(":", ""))
        return binascii.a2b_base64(text) if _BASE64.fullmatch(text) else None
    except ValueError:
        return None


def written_out_bytes(text: str) -> str | None:
    """Return what Python's notation of bytes (`b'…'`) stands for, an octet a character; None where it is none."""
    if not _PYTHON_BYTES.fullmatch(text, 0, _MAX_CHARACTERS):
        return None
    try:
        found = ast.literal_eval(text[:_MAX_CHARACTERS])
    except (ValueError, SyntaxError):
        return None
    return found.decode("latin-1") if isinstance(found, bytes) else None


#: What a `short_message` may have.
_MAX_OCTETS = 255


def _unpacked(octets: bytes) -> str:
    """Unpack seven-bit characters (3GPP TS 23.038, 6.1.2.1.1); all of a receipt but "_" and "@" is as in ASCII."""
    characters = []
    waiting = bits = 0
    for octet in octets[:_MAX_OCTETS]:
        waiting |= octet << bits
        bits += 8
        while bits >= 7:
            characters.append(chr(waiting & 0x7F))
            waiting >>= 7
            bits -= 7
    return "".join(characters).replace("\x11", "_").replace("\0", "@")


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
