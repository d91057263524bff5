"""The interface of an adapter: a pure function from one provider's payloads to findings.

Each provider has a file. It begins with its mapping table (native name -> meaning), followed by code for the exceptions
only, and ends with its `ADAPTER`. `processor.providers` lists the adapters and catches their exceptions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from processor.domain.addresses import Kind
from processor.domain.event import Event
from processor.domain.reason import Category
from processor.domain.status import Channel, Permanence, Status


class PayloadError(ValueError):
    """An element does not have its provider's format; the message says why."""


class Objection(NamedTuple):
    """That the recipient of a message complained about it, or wants no more."""

    kind: Kind
    recipient: str
    #: Aware.
    time: datetime


class NoStatus(NamedTuple):
    """An element that is understood and does not affect a status: an open, a click, a complaint."""

    native: str
    #: What it says of addresses: it affects whether to send to them.
    objections: tuple[Objection, ...] = ()


class Unknown(NamedTuple):
    """A well-formed element whose native status is not in the adapter's table."""

    native: str
    #: As of `Unreadable`.
    element: object = None


class Unreadable(NamedTuple):
    """An element that does not have the provider's format."""

    detail: str
    #: The element that it is in, where it is one of a batch; None stands for the whole payload. `providers.read` fills
    #: it in where an adapter does not say it better. It may nest too deep to be written as JSON.
    element: object = None


#: Elements of one payload (or recipients, or lines of a log) that may be unreadable before the rest is left unread. It
#: is no batch of the provider's, and a megabyte of such elements, half a million, would keep a worker busy for seconds.
UNREADABLE_MAX = 1_000
#: As many may have a status that is not in the table: a provider may have a new one.
UNKNOWN_MAX = 2_000


def left_unread(bad: int) -> str:
    """Return the text for a batch of which the rest was not read, since it has too many bad or unknown elements."""
    return f"{bad} of its elements cannot be read; those behind them were not looked at"


#: What an adapter finds in one element of a payload.
Finding = Event | NoStatus | Unknown | Unreadable


class Means(NamedTuple):
    """The meaning of a native status: a row of a mapping table. None instead: it does not affect a status."""

    status: Status
    #: Of a failure: how final it is where the provider does not say better. TRANSIENT: it is still trying.
    permanence: Permanence | None = None
    #: What the native status alone says of the kind of reason; codes may say it better.
    category: Category | None = None


class Memory:
    """An adapter's bounded memory of earlier payloads, which drops the oldest first.

    Best effort: it belongs to one partition or one run, begins empty, and is lost at a restart. An adapter must be
    right without it; it may only add information.
    """

    #: What an entry costs beside its characters, roughly, in bytes.
    _OVERHEAD = 300

    def __init__(self, size: int = 16_000_000) -> None:
        self._free = size
        self._entries: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def recall(self, name: str) -> tuple[str, ...]:
        """Return the texts kept under a name; empty if there are none."""
        return self._entries.get(name, ())

    def keep(self, name: str, texts: tuple[str, ...]) -> None:
        """Replace the texts under a name."""
        self.forget(name)
        self._entries[name] = texts
        self._free -= self._cost(name, texts)
        while self._free < 0:
            self.forget(next(iter(self._entries)))

    def forget(self, name: str) -> None:
        """Remove the texts under a name, if any."""
        texts = self._entries.pop(name, None)
        if texts is not None:
            self._free += self._cost(name, texts)

    def _cost(self, name: str, texts: tuple[str, ...]) -> int:
        return self._OVERHEAD + len(name) + sum(len(text) + 60 for text in texts)


class Room:
    """How much the packed data of one payload may unpack to, all of it together, in bytes: what is left of it."""

    def __init__(self, size: int = 8 * 2**20) -> None:
        self.left = size


NO_QUERY: Mapping[str, str] = MappingProxyType({})
NO_NOTATIONS: Mapping[str, str] = MappingProxyType({})


class Context(NamedTuple):
    """The information for an adapter besides the payload."""

    #: When the record came in: the event time of payloads that carry no time with a zone. Aware.
    received: datetime
    #: The names under which our own ids travel in a provider's metadata, tried in this order.
    message_id_names: tuple[str, ...] = ("message_id",)
    delivery_id_names: tuple[str, ...] = ("delivery_id",)
    #: The names under which our attempt travels beside our ids.
    attempt_names: tuple[str, ...] = ("attempt",)
    #: Whether an id of ours covers a whole send, and not one message to one recipient.
    message_id_covers_send: bool = False
    #: Which account or SMS centre of the provider it came from; empty: there is but one.
    account: str = ""
    #: What the callback's address had in its query.
    query: Mapping[str, str] = NO_QUERY
    #: What adapters that remember know from earlier payloads; None: each payload is read on its own.
    memory: Memory | None = None
    #: Whether a deliver_sm whose esm_class says that it is a subscriber's message may be a receipt, by its text.
    receipts_by_text: bool = False
    #: The notation of ids in submit_sm_resp and in receipts, by account, where they differ: "decimal/hex".
    id_notations: Mapping[str, str] = NO_NOTATIONS
    #: What packed data may unpack to; None: the element is all of the payload, and has room of its own.
    room: Room | None = None


def elements_of(payload: object) -> Iterable[object]:
    """Split a payload that is a JSON array into its items; anything else is one element."""
    return payload if isinstance(payload, list) else (payload,)


class Adapter(NamedTuple):
    """One provider: its name on the wire, its channel, its table, and how its payloads are read."""

    name: str
    channel: Channel
    #: Every native status that the provider documents, for the reading and for the docs.
    table: Mapping[str, Means | None]
    #: One element (decoded JSON, or text where it was not JSON) and context to findings. It may raise on an element
    #: that is not this provider's; `providers.read` turns that into `Unreadable`, and reads the other elements.
    read: Callable[[object, Context], Iterable[Finding]]
    #: A payload to its elements. It must not look inside them: what raises here costs the whole payload.
    split: Callable[[object], Iterable[object]] = elements_of
    #: Whether the provider's id may cover several recipients: then the recipient is a part of a message's name.
    id_covers_several: bool = False
    #: Whether it reads one payload better when it recalls others; it is then always given a `Context.memory`.
    remembers: bool = False
    #: Whether its payloads may hold packed data; each batch is then given a `Context.room`.
    unpacks: bool = False
    #: Of files whose lines are read by a header line (CSV): whether a line is one. A payload must begin with it.
    is_header: Callable[[str], bool] | None = None
