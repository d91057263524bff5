"""What people and programs are told, whichever way they ask: the API and the page both get it here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timezone
from typing import Annotated, Any, Protocol, TypeVar, cast
from urllib.parse import quote

import msgspec

from processor.domain.delivery import PLANNED_MAX, Action, Cause, Control, State
from processor.domain.row import Row
from processor.domain.status import Channel, Status
from processor.engine.clients import KafkaError
from processor.engine.stage import Work
from processor.engine.streams import Outgoing
from processor.views.deliveries import Deliveries, DeliveryView
from processor.views.listing import ANY_CAUSE, SORTS, DeliveryList, Query, QueryError, list_deliveries
from processor.views.messages import MessageView, message_view
from processor.views.overview import (
    ContradictionList,
    ContradictoryMessages,
    DeadLetterList,
    FoundMessage,
    Overview,
    ProviderList,
    StuckList,
    StuckMessages,
    WaitingMessages,
)
from processor.watch.findings import is_stuck
from processor.watch.tallies import UnreadableRow
from processor.web.forwarding import Forwarding
from processor.web.gathering import Gathering
from processor.web.masking import mask_id, mask_native_id, mask_recipient, mask_text
from processor.web.parameters import NAME_MAX, Parameter, choice, flag, moment, text, whole
from processor.web.problems import (
    BROKER_AWAY,
    DELIVERY_NOT_KNOWN,
    MESSAGE_NOT_KNOWN,
    MESSAGE_UNREADABLE,
    STARTING,
    ProblemError,
    invalid,
)
from processor.web.sealing import PREFIX, Seal, SealError
from processor.wire.control import decode_control, encode_control
from processor.wire.deadletters import UnusableError
from processor.wire.readback import UnreadableError

MESSAGE_PATH = "/internal/v1/messages/"

_NOT_SEALED_HERE = (
    "no message has the id that this link holds: the message is no longer kept, the link was changed, or the token "
    "that seals ids is another since (without one, links are good for one worker until it restarts)"
)

_Group = TypeVar("_Group", StuckMessages, ContradictoryMessages)

#: Seconds that Kafka may take to take a control record.
_PUBLISH_SECONDS = 10.0

#: The parameters of a list of deliveries.
LIST_PARAMETERS: tuple[Parameter, ...] = (
    choice("channel", Channel, "Only deliveries with messages on this channel."),
    choice("status", Status, "Only deliveries with messages at this status."),
    text("provider", "Only deliveries with messages of this provider."),
    choice("state", State, "Only deliveries in this state."),
    moment("since", "Only deliveries of which anything happened since then, by event time."),
    flag("stuck", "Only deliveries that have stuck messages, or that have none."),
    choice("pending", (ANY_CAUSE, *Cause), "Only deliveries that are pending, for this cause or for any."),
    text("q", "Only deliveries with this in their id, label or campaign.", max_length=200),
    choice("sort", SORTS, "Order; `-` turns it around. What has no value comes last."),
    whole("limit", 1, 500, 50, "Most deliveries on one page."),
    text("cursor", "The `next` of the page before, with the same sort.", max_length=4_000),
)


class MessageWork(Protocol):
    """What is asked of the work of a partition of messages."""

    def row(self, key: bytes) -> Row | None:
        """Give the committed row of a message.

        Raises:
            UnreadableError: it is there, and cannot be read.
        """


class Following(Protocol):
    """What feeds the deliveries."""

    @property
    def is_caught_up(self) -> bool:
        """Whether all that there was at the start has been read."""


_Name = Annotated[str, msgspec.Meta(max_length=NAME_MAX)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class ControlFacts(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A control record as it is posted: the delivery is named by the path, and the time is now unless it is told."""

    action: Action
    time: _Moment | None = None
    id: _Name | None = None
    label: _Name | None = None
    campaign: _Name | None = None
    channel: Channel | None = None
    planned: Annotated[int, msgspec.Meta(ge=0, le=PLANNED_MAX)] | None = None
    #: Needed by `schedule`.
    scheduled_at: _Moment | None = None


class Answers:
    """Answers questions for one worker."""

    def __init__(  # noqa: PLR0913 - all that knows anything
        self,
        *,
        deliveries: Deliveries,
        following: Following,
        forwarding: Forwarding,
        gathering: Gathering,
        stuck_after: Mapping[tuple[Channel, Status], float],
        publish: Callable[[Outgoing], Awaitable[None]],
        control_topic: str,
        seal: Seal,
    ) -> None:
        self._deliveries = deliveries
        self._following = following
        self._forwarding = forwarding
        self._gathering = gathering
        self._stuck_after = stuck_after
        self._publish = publish
        self._control_topic = control_topic
        self._seal = seal

    # Messages

    async def message(self, reference: str, *, reveal: bool) -> bytes:
        """Give a message as JSON (MessageView), from whichever worker has it.

        Args:
            reference: which: its id, as it is or sealed.
            reveal: whether its recipient is shown whole.

        Raises:
            ProblemError: it is not known, or cannot be told now.
        """
        try:
            return await self._message(self._opened(reference), reveal=reveal)
        except ProblemError as error:
            if error.kind is not MESSAGE_NOT_KNOWN or not reference.startswith(PREFIX):
                raise
            # Whoever knows may have named the id, which who asks is not to see.
            raise ProblemError(MESSAGE_NOT_KNOWN, _NOT_SEALED_HERE) from None

    def _opened(self, reference: str) -> str:
        try:
            return self._seal.open(reference)
        except SealError:
            if len(reference) > NAME_MAX:
                raise ProblemError(MESSAGE_NOT_KNOWN, _NOT_SEALED_HERE) from None
            # An id may begin so.
            return reference

    def reference(self, message_id: str, *, reveal: bool) -> str:
        """Give what a link names a message by: its id, or, where that may not be shown, the id sealed."""
        is_shown = (reveal or mask_id(message_id) == message_id) and not message_id.startswith(PREFIX)
        return message_id if is_shown else self._seal.close(message_id)

    async def _message(self, message_id: str, *, reveal: bool) -> bytes:
        key = _key(message_id)
        path = f"{MESSAGE_PATH}{quote(message_id, safe='')}?reveal={str(reveal).lower()}"
        number = self._forwarding.partition_of(key)
        return _known(await self._forwarding.ask_owner(number, path, self._finder(message_id, key, reveal)), message_id)

    async def message_here(self, message_id: str, *, reveal: bool) -> bytes:
        """Give a message as JSON, if this worker has its partition.

        Raises:
            ProblemError: it is not known, or not here.
        """
        key = _key(message_id)
        number = self._forwarding.partition_of(key)
        return _known(await self._forwarding.ask_here(number, self._finder(message_id, key, reveal)), message_id)

    def _finder(self, message_id: str, key: bytes, reveal: bool) -> Callable[[Work], bytes | None]:
        def find(work: Work) -> bytes | None:
            try:
                row = cast("MessageWork", work).row(key)
            except UnreadableError as error:
                raise ProblemError(MESSAGE_UNREADABLE, str(error)) from None
            if row is None:
                return None
            view = self._message_view(message_id, row)
            return msgspec.json.encode(view if reveal else _mask_message(view))

        return find

    def _message_view(self, message_id: str, row: Row) -> MessageView:
        now = _now()
        return message_view(
            message_id,
            row,
            pending=self._deliveries.pending(row.delivery, now),
            is_delivery_canceled=bool(row.delivery) and self._deliveries.is_canceled(row.delivery),
            is_stuck=is_stuck(row, self._stuck_after, now, self._deliveries.starts_at(row.delivery)),
        )

    # Deliveries

    async def delivery(self, delivery_id: str) -> DeliveryView:
        """Give one delivery.

        Raises:
            ProblemError: it is not known, or cannot be told now.
        """
        _key(delivery_id)
        stuck = await self._stuck_by_delivery()
        view = self._deliveries.one(delivery_id, _now(), stuck)
        if self._following.is_caught_up:
            if view is not None:
                return view
            # What this worker has not heard of yet it cannot call unknown: is anybody there to tell it?
            await self._forwarding.reach_kafka()
            raise ProblemError(DELIVERY_NOT_KNOWN, "no delivery has this id")
        raise ProblemError(STARTING, "this worker is still reading what is known of deliveries")

    async def deliveries(self, parameters: Mapping[str, Any]) -> DeliveryList:
        """Give a page of the deliveries that match.

        Args:
            parameters: as `parse_query` gave them for LIST_PARAMETERS.

        Raises:
            ProblemError: the cursor is wrong, or the list cannot be given now.
        """
        self._require_deliveries()
        given = dict(parameters)
        for name, kind in (("channel", Channel), ("status", Status), ("state", State)):
            if name in given:
                given[name] = kind(given[name])
        stuck = await self._stuck_by_delivery()
        try:
            return list_deliveries(self._deliveries, Query(**given), _now(), stuck)
        except QueryError as error:
            raise invalid(f"cursor: {error}") from None

    def _require_deliveries(self) -> None:
        if not self._following.is_caught_up:
            raise ProblemError(STARTING, "this worker is still reading what is known of deliveries")

    async def _stuck_by_delivery(self) -> dict[str, int] | None:
        """Count the stuck messages of each delivery; None while nobody can tell."""
        try:
            return (await self._gathering.gather()).reports.partial.stuck_deliveries
        except ProblemError:
            return None

    # What is wrong

    async def overview(self, *, reveal: bool = False) -> Overview:
        """Give everything at a glance.

        Raises:
            ProblemError: it cannot be told now.
        """
        self._require_deliveries()
        reports, owners = await self._gathering.gather()
        messages = self._deliveries.messages()
        pending = self._deliveries.pending_deliveries(_now())
        overview = reports.overview(messages, pending, owners)
        return overview if reveal else self._mask_overview(overview)

    async def stuck(self, *, reveal: bool) -> StuckList:
        """Give what is stuck.

        Raises:
            ProblemError: it cannot be told now.
        """
        found = (await self._gathering.gather()).reports.stuck()
        if reveal:
            return found
        waiting = tuple([self._mask_waiting(at) for at in found.waiting])
        return StuckList(tuple([self._mask_sample(at) for at in found.items]), waiting, found.incomplete)

    async def contradictions(self, *, reveal: bool) -> ContradictionList:
        """Give what contradicts what.

        Raises:
            ProblemError: it cannot be told now.
        """
        found = (await self._gathering.gather()).reports.contradictions()
        if reveal:
            return found
        return ContradictionList(tuple([self._mask_sample(at) for at in found.items]), found.incomplete)

    async def dead_letters(self, *, reveal: bool) -> DeadLetterList:
        """Give the dead letters by reason.

        Raises:
            ProblemError: it cannot be told now.
        """
        found = (await self._gathering.gather()).reports.dead_letters()
        if reveal:
            return found
        # A detail may quote what was sent.
        masked = [msgspec.structs.replace(at, detail=mask_text(at.detail)) for at in found.items]
        return DeadLetterList(tuple(masked))

    async def providers(self) -> ProviderList:
        """Give the verdict on every provider.

        Raises:
            ProblemError: it cannot be told now.
        """
        return (await self._gathering.gather()).reports.providers()

    # Masks, and the links that hold what they hide

    def _mask_sample(self, at: _Group) -> _Group:
        return msgspec.structs.replace(at, sample=tuple([self._mask_found(found) for found in at.sample]))

    def _mask_waiting(self, at: WaitingMessages) -> WaitingMessages:
        return at if at.oldest is None else msgspec.structs.replace(at, oldest=self._mask_found(at.oldest))

    def _mask_found(self, found: FoundMessage) -> FoundMessage:
        """Mask a message's id: where a provider's report had none, it is made of the recipient."""
        whole = found.message_id
        return msgspec.structs.replace(found, message_id=mask_id(whole), reference=self.reference(whole, reveal=False))

    def _mask_overview(self, overview: Overview) -> Overview:
        wrong = overview.wrong
        stuck = tuple([self._mask_sample(at) for at in wrong.stuck])
        contradictions = tuple([self._mask_sample(at) for at in wrong.contradictions])
        unreadable = tuple([_mask_unreadable(at) for at in wrong.unreadable])
        return msgspec.structs.replace(
            overview,
            wrong=msgspec.structs.replace(wrong, stuck=stuck, contradictions=contradictions, unreadable=unreadable),
        )

    # Control

    async def control(self, delivery_id: str, facts: ControlFacts) -> Control:
        """Publish a control record; give it as it was published.

        Raises:
            ProblemError: it breaks the contract, or Kafka does not take it.
        """
        key = _key(delivery_id)
        now = datetime.now(timezone.utc)
        told = {name: value for name, value in msgspec.structs.asdict(facts).items() if value is not None}
        try:
            record = Control(**{"time": now, **told, "delivery_id": delivery_id})
            value = encode_control(record)
            control = decode_control(value, int(now.timestamp() * 1000))
        except UnusableError as error:
            raise invalid(error.detail) from None
        try:
            await asyncio.wait_for(self._publish(Outgoing(self._control_topic, value, key)), _PUBLISH_SECONDS)
        except (KafkaError, OSError, asyncio.TimeoutError) as error:
            raise ProblemError(BROKER_AWAY, f"Kafka did not take the record: {type(error).__name__}") from None
        return control

    async def cancel(self, delivery_id: str) -> Control:
        """Cancel a delivery that is known.

        Raises:
            ProblemError: it is not known, or that cannot be told now, or Kafka does not take the record.
        """
        await self.delivery(delivery_id)
        return await self.control(delivery_id, ControlFacts(Action.CANCEL))


def _now() -> int:
    return time.time_ns() // 1000


def _key(name: str) -> bytes:
    """Give the key of a message or a delivery.

    Raises:
        ProblemError: no event can have named it.
    """
    if len(name) > NAME_MAX:
        raise invalid(f"an id has at most {NAME_MAX} characters")
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise invalid("the id is not UTF-8") from None


def _known(answer: bytes | None, message_id: str) -> bytes:
    if answer is None:
        raise ProblemError(MESSAGE_NOT_KNOWN, f"no message has the id {message_id!r}")
    return answer


# Masking


def _mask_message(view: MessageView) -> MessageView:
    """Mask a message's recipient wherever it may be quoted: ids, codes and texts are others' words."""
    recipient, reason = view.recipient, view.reason
    if reason is not None:
        told = {name: getattr(reason, name) for name in ("code", "provider_code", "text")}
        said = {name: mask_text(text, recipient) for name, text in told.items() if text is not None}
        reason = msgspec.structs.replace(reason, **said)
    native = view.provider_message_id
    return msgspec.structs.replace(
        view,
        message_id=mask_id(view.message_id, recipient),
        recipient=None if recipient is None else mask_recipient(recipient),
        provider_message_id=None if native is None else mask_native_id(native, recipient),
        reason=reason,
    )


def _mask_unreadable(at: UnreadableRow) -> UnreadableRow:
    """Mask what a key or a problem may quote of a recipient."""
    return msgspec.structs.replace(at, key=mask_id(at.key), problem=mask_text(at.problem))
