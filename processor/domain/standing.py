"""The place of a row in the lists of messages, and the order of these lists."""

from __future__ import annotations

from processor.domain.moment import Micros
from processor.domain.transitions import Node

#: Where a row stands: its delivery (empty: none is named), its node, and since when. A plain tuple: two are made for
#: every row that changes.
Standing = tuple[str, Node, Micros]

#: A row in a list: since when it stands there, and its key. Lists are in the order of both, from the highest down.
Mark = tuple[Micros, bytes]

#: Above all marks.
HIGHEST: Mark = (Micros((1 << 63) - 1), b"")
