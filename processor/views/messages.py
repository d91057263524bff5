"""One message as people ask for it: where it stands and why, its line of life, what was rejected, what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import msgspec

from processor.domain.delivery import Pending, State
from processor.domain.fold import contradicts, may_move, walk_through
from processor.domain.moment import to_rfc3339
from processor.domain.reason import ADOBE_CODES, Category, Reason
from processor.domain.row import WHOLE, Row
from processor.domain.status import Channel, Permanence, Status
from processor.domain.traits import TRAITS
from processor.domain.transitions import NODE_NAMES, TRANSITIONS, Node


class Wait(str, Enum):
    """What a message waits for."""

    #: Its delivery, which is paused.
    PAUSED = "paused"
    #: Its delivery's date. This and the next two are why deliveries are pending (domain/delivery.py).
    SCHEDULED = "scheduled"
    #: Fewer campaigns that run at once.
    CONCURRENCY_LIMIT = "concurrency_limit"
    #: The MTA, which has not taken it.
    MTA_RESOURCES = "mta_resources"
    #: The next try: the last one failed for a reason that may pass.
    RETRY = "retry"
    #: The external connector, which decides what comes next.
    CONNECTOR = "connector"
    #: The SMS provider's confirmation.
    PROVIDER = "provider"
    #: The answer of the recipient's mail server.
    MAIL_SERVER = "mail_server"
    #: The mobile network.
    NETWORK = "network"
    #: The handset's receipt.
    RECEIPT = "receipt"


_WAIT_TEXTS = {
    Wait.PAUSED: "its delivery to be resumed: it is paused",
    Wait.SCHEDULED: "the date of its delivery",
    Wait.CONCURRENCY_LIMIT: "other campaigns to end: as many run as may at once",
    Wait.MTA_RESOURCES: "the MTA to take it",
    Wait.RETRY: "the next try, the last one failed for a reason that may pass",
    Wait.CONNECTOR: "the connector to decide what comes next",
    Wait.PROVIDER: "the SMS provider to confirm it",
    Wait.MAIL_SERVER: "the answer of the recipient's mail server",
    Wait.NETWORK: "the mobile network to take it",
    Wait.RECEIPT: "the receipt of the handset",
}

#: What a message waits for at each place where it waits. A pending one waits for what its delivery waits for.
WAITS: dict[tuple[Channel, Node], Wait] = {
    (Channel.EMAIL, Node.TAKEN_INTO_ACCOUNT): Wait.MAIL_SERVER,
    (Channel.SMS, Node.PREPARED): Wait.CONNECTOR,
    (Channel.SMS, Node.SENT_TO_PROVIDER): Wait.PROVIDER,
    (Channel.SMS, Node.TAKEN_INTO_ACCOUNT): Wait.NETWORK,
    (Channel.SMS, Node.SENT): Wait.RECEIPT,
}


class MessageReason(msgspec.Struct, frozen=True):
    """The reason of the message's status, as reported; `adobe_code` is Adobe's code of the category."""

    permanence: Permanence | None
    category: Category | None
    adobe_code: int | None
    code: str | None
    provider_code: str | None
    text: str | None


class Seen(msgspec.Struct, frozen=True):
    """A status that was reported in an attempt, with the times of its first and last report.

    `node` is the status, except that a failure that was given up is `failed_gave_up`.
    """

    node: str
    attempt: int
    first: str
    last: str
    #: The number of the part that it was said of; null: of the message as a whole.
    part: int | None = None


class Rejected(msgspec.Struct, frozen=True):
    """A report whose effect was withheld, where the message stood then, and the rule that it breaks.

    `standing` is null where the channel does not have what was reported.
    """

    node: str
    standing: str | None
    rule: str


# A field that is added needs a default: while workers are upgraded, owners of the older version answer without it.
class MessageView(msgspec.Struct, frozen=True):
    """One message: its present status, and the reports that it follows from."""

    message_id: str
    delivery_id: str | None
    channel: Channel
    status: Status
    permanence: Permanence | None
    since: str
    reason: MessageReason | None
    attempt: int
    #: Masked unless the caller may see it.
    recipient: str | None
    provider: str | None
    provider_message_id: str | None
    #: By time.
    history: tuple[Seen, ...]
    rejected: tuple[Rejected, ...]
    #: In words, and as a name; null when it waits for nothing.
    waits_for: str | None
    waits_for_code: Wait | None
    #: Whether its delivery was cancelled when it could not be stopped any more.
    cancel_too_late: bool
    #: Whether it has waited for longer than is usual. A label, never a status.
    stuck: bool


def message_view(
    message_id: str,
    row: Row,
    *,
    pending: Pending | None = None,
    delivery_state: State | None = None,
    is_stuck: bool = False,
) -> MessageView:
    """Make the view of one message.

    Args:
        message_id: of the row.
        row: of the message.
        pending: why its delivery is pending, if it is.
        delivery_state: where its delivery stands by what was told of it, if anything was.
        is_stuck: whether it is stuck.
    """
    wait = _wait(row, pending, is_paused=delivery_state is State.PAUSED)
    return MessageView(
        message_id,
        row.delivery or None,
        row.channel,
        row.status,
        row.permanence,
        to_rfc3339(row.since),
        reason_view(row.reason),
        row.attempt,
        row.recipient_name,
        row.provider_name,
        row.provider_message,
        _history(row),
        tuple(_rejected(row)),
        None if wait is None else _wait_text(wait, pending),
        wait,
        _is_cancel_too_late(row, delivery_state is State.CANCELED),
        is_stuck,
    )


def reason_view(reason: Reason | None) -> MessageReason | None:
    """Return the reason of a status as it is shown."""
    if reason is None:
        return None
    code = None if reason.category is None else ADOBE_CODES.get(reason.category)
    return MessageReason(reason.permanence, reason.category, code, reason.code, reason.provider_code, reason.text)


def _history(row: Row) -> tuple[Seen, ...]:
    ordered = sorted(row.observations, key=lambda at: (at.first, at.attempt, at.node, at.part))
    return tuple(
        [
            Seen(NODE_NAMES[at.node], at.attempt, to_rfc3339(at.first), to_rfc3339(at.last), at.part or None)
            for at in ordered
        ]
    )


def _rejected(row: Row) -> Iterator[Rejected]:
    """Yield each rejected report with where the walk stood when it came to it."""
    for node in row.rejected:
        name, channel = NODE_NAMES[node], row.channel.value
        if node not in TRANSITIONS[row.channel]:
            yield Rejected(name, None, f"{channel} has no {name}")
        else:
            standing = _standing_at(row, node)
            yield Rejected(name, standing, f"on {channel}, {name} may neither follow nor precede {standing}")


def _standing_at(row: Row, node: Node) -> str:
    for at in row.observations:
        if at.node is not node:
            continue
        of_part = [other for other in row.observations if other.part in {WHOLE, at.part}]
        for time in (at.first, at.last):
            before = walk_through(row.channel, of_part, until=(at.attempt, time, node))
            if before is None or before.node is node:
                continue
            moves = may_move(row.channel, before.node, before.attempt, node, at.attempt)
            if not moves and contradicts(row.channel, before.node, node):
                return NODE_NAMES[before.node]
    return NODE_NAMES[row.node]


def _wait(row: Row, pending: Pending | None, *, is_paused: bool) -> Wait | None:
    if is_paused and TRAITS[row.node].may_be_held:
        return Wait.PAUSED
    reason = row.reason
    if reason is not None and reason.permanence is Permanence.TRANSIENT and TRAITS[row.node].is_retried:
        return Wait.RETRY
    if row.node is Node.PENDING:
        return Wait.MTA_RESOURCES if pending is None else Wait(pending.cause.value)
    return WAITS.get((row.channel, row.node))


def _wait_text(wait: Wait, pending: Pending | None) -> str:
    text = _WAIT_TEXTS[wait]
    if wait is Wait.SCHEDULED and pending is not None and pending.scheduled_at is not None:
        return f"{text}, {to_rfc3339(pending.scheduled_at)}"
    return text


def _is_cancel_too_late(row: Row, is_delivery_canceled: bool) -> bool:
    """Return whether a cancel found the message where it could not be stopped: at what may come after a cancel."""
    is_canceled = is_delivery_canceled or any(at.node is Node.CANCELED for at in row.observations)
    return is_canceled and row.node in TRANSITIONS[row.channel][Node.CANCELED]
