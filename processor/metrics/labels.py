"""The labels of metrics: one type for each set of them, and the values that are known before traffic comes.

A label's name is its field's name. Every field has a type of its own, so that labels in the wrong order do not pass
mypy. No label holds ids, recipients or texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Literal, NamedTuple, NewType, get_args

from processor.domain.addresses import State
from processor.domain.delivery import Cause
from processor.domain.fold import Verdict
from processor.domain.reason import Category
from processor.domain.status import DEFINITIONS, Channel, Permanence, Status
from processor.domain.traits import STUCK_AFTER, Ending
from processor.domain.transitions import NODE_NAMES, NODE_STATUS, TRANSITIONS, Node
from processor.logs import KNOWN_WARNINGS
from processor.providers import ADAPTERS, OUTCOMES, Outcome
from processor.wire.deadletters import DeadReason
from processor.wire.topics import ADDRESSES, CORRELATIONS, COUNTS, DELIVERIES, MESSAGES

# Values

#: A provider as a label: `provider_label` makes it. Upstream may name anything; a label may not hold it.
Provider = NewType("Provider", str)
#: The provider without an adapter.
OTHER_PROVIDER = Provider("other")
#: No provider is named.
NO_PROVIDER = Provider("none")
PROVIDERS: tuple[Provider, ...] = (*map(Provider, ADAPTERS), OTHER_PROVIDER, NO_PROVIDER)

#: The verdict on an event in the wrong partition: it was sent on to its own.
Rerouted = Literal["rerouted"]
REROUTED: Rerouted = "rerouted"
VERDICTS: tuple[Verdict | Rerouted, ...] = (*Verdict, REROUTED)

#: Where a message comes from that was not known before.
New = Literal["new"]
NEW: New = "new"

#: What happens to a receipt without a message id of ours: `received` is the sum of the others, and of those that wait.
ReceiptOutcome = Literal["received", "matched", "repeated", "corrected", "unmatched"]
RECEIPT_OUTCOMES: tuple[ReceiptOutcome, ...] = get_args(ReceiptOutcome)
LinkOutcome = Literal["new", "repeated", "contradicted"]
LINK_OUTCOMES: tuple[LinkOutcome, ...] = get_args(LinkOutcome)

#: What became of a provider's call: `taken` by Kafka, `spooled` on disk, `refused` as not verified, `malformed` so that
#: no record can be made of it, answered `again`, so that the provider repeats it, or `asked` for user and password,
#: which some send only then.
WebhookOutcome = Literal["taken", "spooled", "refused", "malformed", "again", "asked"]
WEBHOOK_OUTCOMES: tuple[WebhookOutcome, ...] = get_args(WebhookOutcome)

#: The providers that call: all but those that write logs, or speak SMPP.
CALLERS: tuple[Provider, ...] = tuple(Provider(name) for name in ADAPTERS if name not in {"postfix", "smpp"})

PartitionState = Literal["recovering", "running", "closing"]
PARTITION_STATES: tuple[PartitionState, ...] = get_args(PartitionState)

#: The topics that are read back into memory.
READ_BACK: tuple[str, ...] = (MESSAGES.name, DELIVERIES.name, COUNTS.name, CORRELATIONS.name, ADDRESSES.name)


def provider_label(provider: str | None) -> Provider:
    """Return the label of the provider that an event names."""
    if not provider:
        return NO_PROVIDER
    return Provider(provider) if provider in ADAPTERS else OTHER_PROVIDER


# Sets of labels


class ByChannel(NamedTuple):
    """A channel."""

    channel: Channel


class ByStatus(NamedTuple):
    """A status on a channel."""

    channel: Channel
    status: Status


class ByVerdict(NamedTuple):
    """What the fold did with an event of a provider."""

    channel: Channel
    provider: Provider
    verdict: Verdict | Rerouted


class ByMove(NamedTuple):
    """A move between two nodes of a channel."""

    channel: Channel
    from_: Node | New
    to: Node


class ByContradiction(NamedTuple):
    """The node of a message, and the one that a provider reported against it."""

    channel: Channel
    provider: Provider
    from_: Node
    to: Node


class ByFailure(NamedTuple):
    """Why a message failed, and how final that is."""

    channel: Channel
    category: Category
    permanence: Permanence


class ByCategory(NamedTuple):
    """Why a message is ignored."""

    channel: Channel
    category: Category


class ByEnding(NamedTuple):
    """How a message ended with its provider."""

    channel: Channel
    provider: Provider
    outcome: Ending


class ByDeadReason(NamedTuple):
    """Why a record of a provider became a dead letter."""

    reason: DeadReason
    provider: Provider


class ByProvider(NamedTuple):
    """A provider."""

    provider: Provider


class ByOutcome(NamedTuple):
    """What a provider's adapter found in a raw record."""

    provider: Provider
    outcome: Outcome


class ByReceipt(NamedTuple):
    """What happened to a receipt without a message id of ours."""

    provider: Provider
    outcome: ReceiptOutcome


class ByLink(NamedTuple):
    """What a link of a provider's id said."""

    provider: Provider
    outcome: LinkOutcome


class ByCondition(NamedTuple):
    """The condition of addresses."""

    channel: Channel
    condition: State


class ByWebhook(NamedTuple):
    """What became of a provider's call."""

    provider: Provider
    outcome: WebhookOutcome


class ByCaller(NamedTuple):
    """A provider that calls."""

    provider: Provider


class ByCause(NamedTuple):
    """Why a delivery is pending."""

    cause: Cause


class ByTopic(NamedTuple):
    """A topic, without its prefix."""

    topic: str


class ByPartition(NamedTuple):
    """A partition of a topic, with its prefix."""

    topic: str
    partition: int


class ByStage(NamedTuple):
    """A stage."""

    stage: str


class ByState(NamedTuple):
    """A state of the partitions of a stage."""

    stage: str
    state: PartitionState


class ByWarning(NamedTuple):
    """An event of the log."""

    event: str


class ByBuild(NamedTuple):
    """What runs: the version of the package, and the commit that it was built from."""

    version: str
    commit: str


def names_of(labels: type[tuple[object, ...]]) -> tuple[str, ...]:
    """Return the names of a set's labels; `from` is no name in Python, hence `from_`."""
    return tuple(name.rstrip("_") for name in labels.__annotations__)


def texts_of(labels: Iterable[object]) -> tuple[str, ...]:
    """Return the values of labels as Prometheus gets them."""
    return tuple([_text(value) for value in labels])


def _text(value: object) -> str:
    if isinstance(value, Node):
        return NODE_NAMES[value]
    return str(value.value if isinstance(value, Enum) else value)


# Known before traffic comes


def by_channel() -> Iterator[ByChannel]:
    """Yield the channels."""
    return map(ByChannel, Channel)


def by_status() -> Iterator[ByStatus]:
    """Yield every status that exists, by channel."""
    for status, definition in DEFINITIONS.items():
        for channel in Channel:
            if channel in definition.channels:
                yield ByStatus(channel, status)


def by_left_status() -> Iterator[ByStatus]:
    """Yield every status that a message may leave for another one, by channel."""
    for channel, table in TRANSITIONS.items():
        for before, afters in table.items():
            if any(NODE_STATUS[after] is not NODE_STATUS[before] for after in afters):
                yield ByStatus(channel, NODE_STATUS[before])


def by_stuck_status() -> Iterator[ByStatus]:
    """Yield every status in which a message may be stuck, by channel."""
    return (ByStatus(channel, status) for channel, status in STUCK_AFTER)


def by_provider() -> Iterator[ByProvider]:
    """Yield every provider."""
    return map(ByProvider, PROVIDERS)


def _reporting() -> Iterator[tuple[Channel, Provider]]:
    """Yield every provider with the channels that it may report on."""
    for channel in Channel:
        for name, adapter in ADAPTERS.items():
            if adapter.channel is channel:
                yield channel, Provider(name)
        yield channel, OTHER_PROVIDER
        yield channel, NO_PROVIDER


def by_verdict() -> Iterator[ByVerdict]:
    """Yield every verdict, by channel and provider."""
    return (ByVerdict(channel, provider, verdict) for channel, provider in _reporting() for verdict in VERDICTS)


def by_move() -> Iterator[ByMove]:
    """Yield every move of the diagram, and every beginning."""
    for channel, table in TRANSITIONS.items():
        for before, afters in table.items():
            yield ByMove(channel, NEW, before)
            for after in afters:
                yield ByMove(channel, before, after)


def by_ending() -> Iterator[ByEnding]:
    """Yield every ending, by channel and provider."""
    return (ByEnding(channel, provider, ending) for channel, provider in _reporting() for ending in Ending)


def by_category() -> Iterator[ByCategory]:
    """Yield every category of reasons, by channel."""
    return (ByCategory(channel, category) for channel in Channel for category in Category)


def by_failure() -> Iterator[ByFailure]:
    """Yield every way in which a message can have failed, by channel."""
    for channel, category in by_category():
        for permanence in (Permanence.GAVE_UP, Permanence.PERMANENT):
            yield ByFailure(channel, category, permanence)


def by_dead_reason() -> Iterator[ByDeadReason]:
    """Yield every reason of a dead letter, by provider."""
    return (ByDeadReason(reason, provider) for reason in DeadReason for provider in PROVIDERS)


def by_outcome() -> Iterator[ByOutcome]:
    """Yield everything that an adapter may find, by provider."""
    return (ByOutcome(provider, outcome) for provider in PROVIDERS for outcome in OUTCOMES)


def by_receipt() -> Iterator[ByReceipt]:
    """Yield every outcome of a receipt, by provider."""
    return (ByReceipt(provider, outcome) for provider in PROVIDERS for outcome in RECEIPT_OUTCOMES)


def by_link() -> Iterator[ByLink]:
    """Yield every outcome of a link, by provider."""
    return (ByLink(provider, outcome) for provider in PROVIDERS for outcome in LINK_OUTCOMES)


def by_condition() -> Iterator[ByCondition]:
    """Yield every condition of an address, by channel."""
    return (ByCondition(channel, state) for channel in Channel for state in State)


def by_webhook() -> Iterator[ByWebhook]:
    """Yield everything that may become of a call, by provider."""
    return (ByWebhook(provider, outcome) for provider in CALLERS for outcome in WEBHOOK_OUTCOMES)


def by_caller() -> Iterator[ByCaller]:
    """Yield every provider that calls."""
    return map(ByCaller, CALLERS)


def by_cause() -> Iterator[ByCause]:
    """Yield why a delivery may be pending."""
    return map(ByCause, Cause)


def by_topic() -> Iterator[ByTopic]:
    """Yield the topics that are read back."""
    return map(ByTopic, READ_BACK)


def by_warning() -> Iterator[ByWarning]:
    """Yield every event of the log that is a warning or an error."""
    return map(ByWarning, KNOWN_WARNINGS)
