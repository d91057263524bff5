"""The audit topic: who did what, and when; one record for each write, and for each view of unmasked recipients.

The published form is schemas/audit.json. No recipient is in it.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated

import msgspec

from processor.wire.readback import read_back
from processor.wire.settled import Outcome

#: Characters that are kept of what was acted on.
SUBJECT_MAX = 300


class Deed(str, Enum):
    """What was done."""

    #: A control record was published, other than a cancel.
    CONTROL = "control"
    #: A delivery was cancelled.
    CANCEL = "cancel"
    #: A link was published.
    LINK = "link"
    #: A person's data was erased.
    ERASE = "erase"
    #: Dead letters were replayed, or discarded.
    REPLAY = "replay"
    DISCARD = "discard"
    #: Whole recipients were shown.
    UNMASK = "unmask"


#: The deed that settles a dead letter.
DEEDS = {Outcome.REPLAYED: Deed.REPLAY, Outcome.DISCARDED: Deed.DISCARD}


class Via(str, Enum):
    """By which way it was done."""

    API = "api"
    PAGE = "page"
    COMMAND = "command"


_Text = Annotated[str, msgspec.Meta(max_length=SUBJECT_MAX)]


class AuditEntry(msgspec.Struct, frozen=True):
    """That somebody did something."""

    time: Annotated[datetime, msgspec.Meta(tz=True)]
    who: _Text
    via: Via
    deed: Deed
    #: What it was done to: a delivery, a message (masked), an erasure; null: nothing that has a name.
    subject: _Text | None = None
    detail: _Text | None = None
    #: From where a request came; null: a command names its host among who did it.
    address: _Text | None = None


encode_entry = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(AuditEntry)


def decode_entry(value: bytes) -> AuditEntry:
    """Decode one record.

    Raises:
        UnreadableError: this application did not write it.
    """
    return read_back(_decoder.decode, value)
