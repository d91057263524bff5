"""The proof in a committed offset that the changelog has its transaction: protects against lost markers.

A transaction is decided in the coordinator's log; then a marker is written to each of its partitions. A broker that
crashes between the two finishes this when it is back; but if it does not know yet who leads a partition, it takes the
partition for deleted and never writes the marker (ADR 0013). Then the offset may be committed and the rows not, or
the rows may be undecided until the next transaction of the same producer, whichever way that one ends. Transactions
alone do not show it: so each offset is committed with a proof, which is compared with the changelog when a partition
is opened (recovery.py). Processing a chunk again without need does no harm: rows already know its events.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Proof(NamedTuple):
    """The last transaction that wrote to the changelog, as of the offset that it committed."""

    #: The changelog position after what it wrote: the record before it is there, or the transaction is not.
    position: int
    #: The input offset at which its chunk began.
    start: int
    #: The position of the transaction before, which may be lost together with this one; 0: there is none, or it is not
    #: known.
    before: int = 0

    def text(self) -> str:
        """Format it as an offset's metadata."""
        text = f"changelog={self.position} from={self.start}"
        return f"{text} after={self.before}" if self.before else text


_TEXT = re.compile(r"changelog=(\d+) from=(\d+)(?: after=(\d+))?")


def read_proof(metadata: str | None) -> Proof | None:
    """Read an offset's metadata; None if it is not ours or empty."""
    found = _TEXT.fullmatch(metadata or "")
    return None if found is None else Proof(int(found[1]), int(found[2]), int(found[3] or 0))
