"""Settled dead letters on the wire: one record for each that was replayed or discarded, keyed by the letter's id.

It is written in the transaction of the replay, so that a record is published again if, and only if, that is remembered.
The published form is schemas/settled.json.
"""

from __future__ import annotations

from array import array
from datetime import datetime
from enum import Enum
from typing import Annotated

import msgspec

from processor.domain.moment import Millis
from processor.wire.letters import DeadLetter, LetterId
from processor.wire.readback import UnreadableError, read_back


class Outcome(str, Enum):
    """What became of a dead letter."""

    #: It was published again to the topic that it came from.
    REPLAYED = "replayed"
    #: Somebody decided that nothing is to be done about it.
    DISCARDED = "discarded"


_Place = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Settled(msgspec.Struct, frozen=True, omit_defaults=True):
    """That a dead letter was replayed or discarded."""

    #: The letter's place, and when it was written, in milliseconds: a topic that is created again begins anew.
    partition: _Place
    offset: _Place
    written: _Place
    outcome: Outcome
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    reason: str | None = None
    #: Where it was published to.
    topic: str | None = None
    #: How many times the record has been replayed by then.
    round: Annotated[int, msgspec.Meta(ge=1)] | None = None


_decoder = msgspec.json.Decoder(Settled)
encode_settled = msgspec.json.Encoder().encode


def key_of(letter: LetterId) -> bytes:
    """Return the key of what became of a letter."""
    return str(letter).encode()


def decode_settled(value: bytes) -> Settled:
    """Decode one record.

    Raises:
        UnreadableError: this application did not write it.
    """
    return read_back(_decoder.decode, value)


#: Letters whose outcomes lie in one block.
_BLOCK = 1024
_CODES = {Outcome.REPLAYED: 1, Outcome.DISCARDED: 2}
_OUTCOMES = {code: outcome for outcome, code in _CODES.items()}


class Outcomes:
    """What became of every dead letter, in eight bytes for each: there may be millions."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[int, int], array[int]] = {}

    def take(self, value: bytes | None) -> None:
        """Take one record of the topic; the last one of a letter counts. What cannot be read is passed over."""
        if value is None:
            return
        try:
            self.add(decode_settled(value))
        except UnreadableError:
            return

    def add(self, settled: Settled) -> None:
        """Take over what became of one letter."""
        at, index = divmod(settled.offset, _BLOCK)
        block = self._blocks.setdefault((settled.partition, at), array("Q", bytes(8 * _BLOCK)))
        block[index] = _coded(settled.written, settled.outcome)

    def of(self, letter: DeadLetter) -> Outcome | None:
        """Return what became of a letter; None: it waits."""
        at, index = divmod(letter.id.offset, _BLOCK)
        block = self._blocks.get((letter.id.partition, at))
        code = 0 if block is None else block[index]
        outcome = _OUTCOMES.get(code & 3)
        return outcome if outcome is not None and code == _coded(letter.written, outcome) else None


def _coded(written: int, outcome: Outcome) -> int:
    # Only to be compared with the time of the letter at this place: what is beyond any clock need not fit.
    return (Millis(written & (2**60 - 1)) << 2) | _CODES[outcome]
