"""The answers to all questions about messages and deliveries, as typed views, for the API and the page alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

import msgspec

from processor.domain.delivery import Action, Control
from processor.domain.moment import Micros
from processor.domain.row import Row
from processor.domain.status import Channel, Status
from processor.domain.traits import SuccessFrom
from processor.domain.waiting import is_stuck, stuck_before
from processor.engine.clients import KafkaError
from processor.engine.follower import Follower
from processor.engine.streams import Outgoing
from processor.providers import ADAPTERS
from processor.providers.native_keys import key_of_name
from processor.views.breakdown import Breakdown, BreakdownQuery, By
from processor.views.deliveries import Deliveries, DeliveryView
from processor.views.gateways import GatewayList, GatewayReport, gateway_list
from processor.views.history import POINTS, HistoryView, Scope, Span
from processor.views.listing import DeliveryList, Query, QueryError, list_deliveries
from processor.views.message_list import FoundItem, MessageItem, MessageList
from processor.views.message_query import MessageQuery
from processor.views.messages import MessageView, message_view
from processor.views.overview import ContradictionList, DeadLetterList, Overview, ProviderList, StuckList
from processor.views.place_history import begin_of, place_history
from processor.views.steering import obstacle, refusal
from processor.web.breakdowns import Breakdowns
from processor.web.control_facts import ControlFacts, control_record
from processor.web.forwarding import Forwarding, Question
from processor.web.gathering import Gathering
from processor.web.masking import mask_id
from processor.web.masking.views import (
    mask_contradictions,
    mask_dead_letters,
    mask_message,
    mask_overview,
    mask_stuck,
)
from processor.web.message_lists import MessageLists
from processor.web.message_query import read_cursor, write_cursor
from processor.web.owner import Links, Rows, links_of, rows_of
from processor.web.parameters import NAME_MAX
from processor.web.problems import (
    BROKER_AWAY,
    DELIVERY_NOT_KNOWN,
    MESSAGE_NOT_KNOWN,
    MESSAGE_UNREADABLE,
    NO_EFFECT,
    STARTING,
    ProblemError,
    invalid,
)
from processor.web.sealing import PREFIX, Seal, SealError
from processor.wire.readback import UnreadableError
from processor.wire.topics import EVENTS, RECEIPTS

MESSAGE_PATH, LINK_PATH = "/internal/v1/messages/", "/internal/v1/links/"

_NOT_SEALED_HERE = (
    "no message has the id that this link holds: the message is no longer kept, the link was changed, or the token "
    "that seals ids is another since (without one, links are good for one worker until it restarts)"
)

_NO_DELIVERY = (
    "no delivery has this id: its first event or control record makes it known, for example one with the action "
    "`register`, posted to /api/v1/deliveries/{delivery_id}/control or published by `delivery-status control`"
)

#: Seconds that Kafka may take to acknowledge a control record.
_PUBLISH_SECONDS = 10.0


class LinkedMessage(msgspec.Struct, frozen=True):
    """The message that a provider's id was linked to."""

    message_id: str


class Answers:
    """Answers questions for one worker.

    Args:
        deliveries: all deliveries, as this worker has read them.
        following: reads them.
        forwarding: asks the owner of a partition.
        gathering: asks all workers what is wrong.
        lists: lists messages of all workers.
        breakdowns: breaks them down.
        stuck_after: seconds in a status after which a message is stuck.
        publish: writes a record to Kafka.
        control_topic: the full name of the topic of control records.
        seal: seals ids in links.
        gateways: gives the report of each gateway by URL; None: it does not answer.
    """

    def __init__(  # noqa: PLR0913 - all that knows anything
        self,
        *,
        deliveries: Deliveries,
        following: Follower,
        forwarding: Forwarding,
        gathering: Gathering,
        lists: MessageLists,
        breakdowns: Breakdowns,
        stuck_after: Mapping[tuple[Channel, Status], float],
        publish: Callable[[Outgoing], Awaitable[None]],
        control_topic: str,
        seal: Seal,
        gateways: Callable[[], Awaitable[Mapping[str, GatewayReport | None]]],
    ) -> None:
        self._deliveries = deliveries
        self._following = following
        self._forwarding = forwarding
        self._gathering = gathering
        self._lists, self._breakdowns = lists, breakdowns
        self._stuck_after = stuck_after
        self._publish = publish
        self._control_topic = control_topic
        self._seal = seal
        self._gateways = gateways

    # Messages

    async def message(self, reference: str, *, reveal: bool) -> MessageView:
        """Return a message, from whichever worker owns it.

        Args:
            reference: its id, as it is or sealed.
            reveal: whether its recipient is shown whole.

        Raises:
            ProblemError: it is not known, or cannot be had now.
        """
        message_id = self._opened(reference)
        try:
            view = await self._shown(message_id, reveal=reveal)
            return _known(view, message_id)
        except ProblemError as error:
            if error.kind is not MESSAGE_NOT_KNOWN or not reference.startswith(PREFIX):
                raise
            # The detail may name the id, which the caller may not see.
            raise ProblemError(MESSAGE_NOT_KNOWN, _NOT_SEALED_HERE) from None

    async def _shown(self, message_id: str, *, reveal: bool) -> MessageView | None:
        """Return a message; where the id is a provider's, the message that it was linked to last."""
        view = await self._of_id(message_id, reveal=reveal)
        if view is not None:
            return view
        linked = await self._linked(message_id)
        return None if linked is None else await self._of_id(linked.message_id, reveal=reveal)

    async def _of_id(self, message_id: str, *, reveal: bool) -> MessageView | None:
        try:
            return await self._forwarding.ask_owner(self._question(message_id, reveal=reveal))
        except ProblemError as error:
            if error.kind is not MESSAGE_NOT_KNOWN:
                raise
            return None

    async def named(self, reference: str) -> tuple[str, bool] | None:
        """Return the id of the message that a text names, and whether it does so by a link; None: it names none.

        Args:
            reference: an id, as it is or sealed, or a provider's id as `provider:id`.

        Raises:
            ProblemError: it cannot be had now.
        """
        message_id = self._opened(reference)
        if await self._of_id(message_id, reveal=False) is not None:
            return message_id, False
        linked = await self._linked(message_id)
        if linked is None or await self._of_id(linked.message_id, reveal=False) is None:
            return None
        return linked.message_id, True

    def partition_of(self, message_id: str) -> int:
        """Return the partition of a message.

        Raises:
            ProblemError: the worker has not seen the cluster yet, or no event can have named the message.
        """
        return self._forwarding.partition_of(EVENTS, _key(message_id))

    async def _linked(self, provisional: str) -> LinkedMessage | None:
        named = key_of_name(provisional)
        if named is None or named[0] not in ADAPTERS:
            return None
        try:
            return await self._forwarding.ask_owner(self._link_question(provisional, named[1]))
        except ProblemError as error:
            if error.kind is not MESSAGE_NOT_KNOWN:
                raise
            return None

    async def linked_here(self, provisional: str) -> LinkedMessage:
        """Return the message that a provider's id was linked to last, if this worker has its partition of receipts.

        Raises:
            ProblemError: it was linked to none, or is not here.
        """
        named = key_of_name(provisional)
        linked: LinkedMessage | None = None
        if named is not None:
            linked = await self._forwarding.ask_here(self._link_question(provisional, named[1]))
        if linked is None:
            raise ProblemError(MESSAGE_NOT_KNOWN, f"no link has the provider's id {provisional!r}")
        return linked

    def _link_question(self, provisional: str, native_key: str) -> Question[Links, LinkedMessage]:
        key = _key(native_key)

        def find(links: Links) -> LinkedMessage | None:
            try:
                known = links.known(key).links
            except UnreadableError as error:
                raise ProblemError(MESSAGE_UNREADABLE, str(error)) from None
            return LinkedMessage(known[-1].message_id) if known else None

        path = f"{LINK_PATH}{quote(provisional, safe='')}"
        return Question(RECEIPTS, self._forwarding.partition_of(RECEIPTS, key), links_of, path, LinkedMessage, find)

    async def messages(self, given: Mapping[str, Any], *, reveal: bool) -> MessageList:
        """List the messages that match.

        Args:
            given: fields of `MessageQuery`; `cursor` stands for `after`.
            reveal: whether recipients are shown whole.

        Raises:
            ProblemError: the cursor is wrong, or the list cannot be had now.
        """
        asked = {name: value for name, value in given.items() if name != "cursor"}
        query = MessageQuery(**asked, success_from=self.success_from)
        if "cursor" in given:
            query = msgspec.structs.replace(query, after=self._place(given["cursor"]))
        found, reached, incomplete = await self._lists.page(query, reveal=reveal)
        items = [self._item(each, reveal=reveal) for each in found]
        more = None
        if reached is not None:
            more = write_cursor(reached[0], self.reference(reached[1], reveal=reveal))
        return MessageList(tuple(items), more, incomplete)

    async def breakdown(self, query: BreakdownQuery) -> Breakdown:
        """Return what messages have in common.

        Raises:
            ProblemError: it cannot be had now.
        """
        return await self._breakdowns.breakdown(query)

    def _item(self, found: FoundItem, *, reveal: bool) -> MessageItem:
        return msgspec.structs.replace(found.item, reference=self.reference(found.message_id, reveal=reveal))

    def _place(self, cursor: str) -> tuple[Micros, str]:
        try:
            since, reference = read_cursor(cursor)
            return since, self._seal.open(reference)
        except ValueError:
            raise invalid("cursor is none of ours") from None
        except SealError:
            raise invalid("cursor was sealed with another token, or by another worker: begin anew") from None

    async def message_here(self, message_id: str, *, reveal: bool) -> MessageView:
        """Return a message, if this worker has its partition.

        Raises:
            ProblemError: it is not known, or not here.
        """
        view = await self._forwarding.ask_here(self._question(message_id, reveal=reveal))
        return _known(view, message_id)

    def reference(self, message_id: str, *, reveal: bool = False) -> str:
        """Return what a link names a message by: its id, or, where that may not be shown, the id sealed."""
        is_shown = (reveal or mask_id(message_id) == message_id) and not message_id.startswith(PREFIX)
        return message_id if is_shown else self._seal.close(message_id)

    def _opened(self, reference: str) -> str:
        try:
            return self._seal.open(reference)
        except SealError:
            if len(reference) > NAME_MAX:
                raise ProblemError(MESSAGE_NOT_KNOWN, _NOT_SEALED_HERE) from None
            # An id may begin like a seal.
            return reference

    def _question(self, message_id: str, *, reveal: bool) -> Question[Rows, MessageView]:
        key = _key(message_id)

        def find(rows: Rows) -> MessageView | None:
            try:
                row = rows.row(key)
            except UnreadableError as error:
                raise ProblemError(MESSAGE_UNREADABLE, str(error)) from None
            if row is None:
                return None
            view = self._message_view(message_id, row)
            return view if reveal else mask_message(view)

        path = f"{MESSAGE_PATH}{quote(message_id, safe='')}?reveal={str(reveal).lower()}"
        return Question(EVENTS, self._forwarding.partition_of(EVENTS, key), rows_of, path, MessageView, find)

    def _message_view(self, message_id: str, row: Row) -> MessageView:
        now = _now()
        before = stuck_before(self._stuck_after, now)
        return message_view(
            message_id,
            row,
            pending=self._deliveries.pending(row.delivery, now),
            delivery_state=self._deliveries.state_of(row.delivery) if row.delivery else None,
            is_stuck=is_stuck(row, before.get((row.channel, row.status)), self._deliveries.holds),
        )

    # Deliveries

    async def delivery(self, delivery_id: str) -> DeliveryView:
        """Return one delivery.

        Raises:
            ProblemError: it is not known, or cannot be had now.
        """
        _key(delivery_id)
        stuck = await self._stuck_by_delivery()
        view = self._deliveries.one(delivery_id, _now(), stuck)
        self.require_deliveries()
        if view is not None:
            return view
        # A worker that Kafka does not reach may have missed the delivery: it cannot call it unknown.
        await self._forwarding.reach_kafka()
        raise ProblemError(DELIVERY_NOT_KNOWN, _NO_DELIVERY)

    async def deliveries(self, query: Query) -> DeliveryList:
        """List the deliveries that match.

        Raises:
            ProblemError: the cursor is wrong, or the list cannot be had now.
        """
        self.require_deliveries()
        stuck = await self._stuck_by_delivery()
        try:
            return list_deliveries(self._deliveries, query, _now(), stuck)
        except QueryError as error:
            raise invalid(f"cursor: {error}") from None

    @property
    def success_from(self) -> SuccessFrom:
        """From where on a message is a success."""
        return self._deliveries.success_from

    def history(
        self, *, delivery: str | None = None, provider: str | None = None, campaign: str | None = None, span: Span
    ) -> HistoryView:
        """Return changes over time: of all, or only of one delivery, of one provider, of the deliveries of a campaign.

        Raises:
            ProblemError: the delivery is not known, or it cannot be had now.
        """
        self.require_deliveries()
        if delivery is not None and delivery not in self._deliveries.entries:
            raise ProblemError(DELIVERY_NOT_KNOWN, _NO_DELIVERY)
        scopes: list[Scope] = [(delivery, provider)]
        if campaign is not None:
            members = self._deliveries.of_campaign(campaign)
            scopes = [(each, provider) for each in members if delivery in {None, each}]
        return self._deliveries.history.view(scopes, span, _now())

    async def history_of_place(
        self,
        domain: str,
        *,
        delivery: str | None = None,
        provider: str | None = None,
        campaign: str | None = None,
        span: Span,
    ) -> HistoryView:
        """Return when the messages to a mail domain or a calling code came to where they stand, from their rows.

        Raises:
            ProblemError: it cannot be had now.
        """
        now = _now()
        messages = MessageQuery(delivery=delivery, provider=provider, domain=domain, since=begin_of(span, now))
        members = None if campaign is None else tuple(self._deliveries.of_campaign(campaign))
        query = BreakdownQuery(messages, By.TIME, POINTS[span][0].milliseconds // 1_000, members)
        found, missing = await self._breakdowns.by_partition(query)
        return place_history(found.values(), span, now, self.success_from, missing)

    def require_deliveries(self) -> None:
        """Require that all is known of deliveries.

        Raises:
            ProblemError: this worker is still reading it.
        """
        if not self._following.is_caught_up:
            raise ProblemError(STARTING, "this worker is still reading what is known of deliveries")

    async def _stuck_by_delivery(self) -> dict[str, int] | None:
        """Count the stuck messages of each delivery; None while that cannot be known."""
        try:
            return (await self._gathering.gather()).reports.partial.stuck_deliveries
        except ProblemError:
            return None

    # What is wrong

    async def overview(self, *, reveal: bool = False) -> Overview:
        """Return counts, what is wrong, and how the partitions stand.

        Raises:
            ProblemError: it cannot be had now.
        """
        self.require_deliveries()
        reports, owners = await self._gathering.gather()
        messages = self._deliveries.messages()
        pending = self._deliveries.pending_deliveries(_now())
        overview = reports.overview(messages, pending, owners)
        return overview if reveal else mask_overview(overview, self.reference)

    async def stuck(self, *, reveal: bool) -> StuckList:
        """List stuck messages.

        Raises:
            ProblemError: it cannot be had now.
        """
        found = (await self._gathering.gather()).reports.stuck()
        return found if reveal else mask_stuck(found, self.reference)

    async def contradictions(self, *, reveal: bool) -> ContradictionList:
        """List contradictions.

        Raises:
            ProblemError: it cannot be had now.
        """
        found = (await self._gathering.gather()).reports.contradictions()
        return found if reveal else mask_contradictions(found, self.reference)

    async def dead_letters(self, *, reveal: bool) -> DeadLetterList:
        """List dead letters by reason.

        Raises:
            ProblemError: it cannot be had now.
        """
        found = (await self._gathering.gather()).reports.dead_letters()
        return found if reveal else mask_dead_letters(found)

    async def providers(self) -> ProviderList:
        """List providers, and which of them are silent.

        Raises:
            ProblemError: it cannot be had now.
        """
        return (await self._gathering.gather()).reports.providers()

    async def gateways(self) -> GatewayList:
        """List the gateways and their routes, and whether each route's provider answers, as far as that is known."""
        reports = await self._gateways()
        try:
            providers = (await self.providers()).items if reports else ()
        except ProblemError:
            # Calls come to gateways whether or not the workers are well.
            providers = ()
        return gateway_list(reports, {each.provider: each.answering for each in providers if each.provider})

    # Control

    async def control(self, delivery_id: str, facts: ControlFacts) -> Control:
        """Publish a control record; give it as it was published.

        Raises:
            ProblemError: it breaks the contract, or Kafka does not take it.
        """
        key = _key(delivery_id)
        control, value = control_record(delivery_id, facts, datetime.now(timezone.utc))
        try:
            await asyncio.wait_for(self._publish(Outgoing(self._control_topic, value, key)), _PUBLISH_SECONDS)
        except (KafkaError, OSError, asyncio.TimeoutError) as error:
            raise ProblemError(BROKER_AWAY, f"Kafka did not take the record: {type(error).__name__}") from None
        return control

    async def steer(self, delivery_id: str, action: Action) -> Control:
        """Pause, resume, finish or cancel a known delivery.

        Raises:
            ProblemError: it is not known, or that cannot be known now; the action would have no effect; or Kafka does
                not take the record.
        """
        view = await self.delivery(delivery_id)
        found = obstacle(view, action)
        # Whoever is not sure of a cancel says it again; the first one counts.
        if found is not None and action is not Action.CANCEL:
            raise ProblemError(NO_EFFECT, refusal(view, action, found))
        return await self.control(delivery_id, ControlFacts(action))


def _now() -> Micros:
    return Micros(time.time_ns() // 1000)


def _key(name: str) -> bytes:
    """Return the key of a message or a delivery.

    Raises:
        ProblemError: no event can have named it.
    """
    if len(name) > NAME_MAX:
        raise invalid(f"an id has at most {NAME_MAX} characters")
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise invalid("the id is not UTF-8") from None


def _known(view: MessageView | None, message_id: str) -> MessageView:
    if view is None:
        raise ProblemError(MESSAGE_NOT_KNOWN, f"no message has the id {message_id!r}")
    return view
