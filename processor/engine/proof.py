"""What a committed offset proves of the changelog: the cure for a broker that forgets the end of a transaction.

A transaction is decided in one log; then every partition that it wrote to is told so by a marker. A broker that dies
between the two finishes this when it is back; but where it does not know yet who leads a partition, it takes the
partition for deleted and never tells it (ADR 0013). Then the offset may be committed and the rows not, or the rows may
hang until the next transaction of the same producer ends them, whichever way that one ends. Transactions alone do not
show it: so each offset is committed with a proof, which is compared with the changelog when a partition is opened
(partition.py). A chunk that is folded again for no need changes nothing: rows already know its events.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Proof(NamedTuple):
    """What the last transaction that wrote to the changelog did, as of the offset that it was committed with."""

    #: The changelog position after what it wrote: the record before it is there, or the transaction is not.
    position: int
    #: The input offset at which its chunk began.
    start: int

    def text(self) -> str:
        """Write it, as an offset's metadata."""
        return f"changelog={self.position} from={self.start}"


_TEXT = re.compile(r"changelog=(\d+) from=(\d+)")


def read_proof(metadata: str | None) -> Proof | None:
    """Read an offset's metadata; None where an operator, or nobody, wrote it."""
    found = _TEXT.fullmatch(metadata or "")
    return None if found is None else Proof(int(found[1]), int(found[2]))
