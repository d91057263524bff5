"""Arrange the views that the API answers for the templates: sums, orders and choices; no tags."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import NamedTuple

from processor.domain.reason import ADOBE_CODES, Category
from processor.domain.status import DEFINITIONS, Channel, Permanence
from processor.domain.traits import CANCELABLE, INDICATED, MAY_BE_HELD, STATUSES_OF, Indicator, SuccessFrom
from processor.domain.transitions import NODE_NAMES, NODE_STATUS, Node
from processor.views.deliveries import DeliveryView, PendingView
from processor.views.failing import FailingView
from processor.views.listing import ANY_CAUSE
from processor.views.messages import MessageView
from processor.views.overview import Overview, PartitionView, ProviderView
from processor.watch.failing import Failing
from processor.web.page import charts
from processor.web.page.language import Language
from processor.web.page.message_filters import messages_address
from processor.web.page.moments import parse
from processor.wire.deadletters import DeadReason

# The overview


class About(NamedTuple):
    """A line about what is wrong, and the address of its list."""

    text: str
    href: str = ""


class Alarm(NamedTuple):
    """One kind of trouble, and how much of it there is."""

    name: str
    icon: str
    level: str
    number: int
    about: list[About]
    #: Where what the number counts is listed.
    href: str


#: What is named in an alarm: silent providers, and what fails.
_NAMED = 3

_LEVELS = {"failing": "bad", "stuck": "bad", "silent": "bad", "contradictions": "warn", "dead_letters": "warn"}

#: Where what an alarm counts is listed, elsewhere than on the overview.
_LISTED = {"stuck": messages_address(stuck="true"), "dead_letters": "/dead-letters"}

#: How bad each cause of pending deliveries is; the causes that may need somebody to act come first.
_CAUSES = {"concurrency_limit": "warn", "mta_resources": "warn", "scheduled": "note"}


def alarms(view: Overview, dead_letters: int, language: Language) -> list[Alarm]:
    """Return every kind of trouble, also those of which there is none; what fails leads.

    Args:
        view: the overview.
        dead_letters: how many there are.
        language: of the page.
    """
    wrong = view.wrong
    counts = {
        "failing": failures(wrong.failing),
        "stuck": sum(each.messages for each in wrong.stuck),
        "silent": len(wrong.silent),
        "contradictions": sum(each.messages for each in wrong.contradictions),
        "dead_letters": dead_letters,
    }
    found: list[Alarm] = []
    for name, count in counts.items():
        # Of nothing there is nothing to say: "receipts stopped" beside a 0 reads as if they had.
        about = [About(language.text(f"wrong.{name}.about"), f"#{name}-title")] if count else []
        if name == "silent":
            about += [_silent(each, language) for each in wrong.silent[:_NAMED]]
        elif name == "failing":
            about += [_failing(each, language) for each in wrong.failing[:_NAMED]]
        href = _LISTED.get(name, f"#{name}-title")
        found.append(Alarm(name, name, _LEVELS[name] if count else "none", count, about, href))
    found.insert(1, _held(view.pending_deliveries, language))
    return found


def failures(failing: Sequence[FailingView]) -> int:
    """Return how many messages failed where more do than is usual: one that failed counts once."""
    of_deliveries = sum(each.failed for each in failing if each.delivery_id is not None)
    return max(of_deliveries, sum(each.failed for each in failing if each.delivery_id is None))


def _failing(each: FailingView, language: Language) -> About:
    share = each.share_10m if each.failing is Failing.STORM else each.share_1h
    return About(
        language.text("wrong.failing.named", name=failing_name(each, language), share=language.share(share or 0))
    )


def failing_name(each: FailingView, language: Language) -> str:
    """Return the delivery or the provider that fails, or else the channel."""
    return each.delivery_id or each.provider or language.known("channel", each.channel.value)


def _silent(provider: ProviderView, language: Language) -> About:
    name = provider.provider or language.text("provider.unknown")
    if provider.quiet is None:
        return About(name)
    return About(language.text("wrong.silent.named", provider=name, span=language.span(provider.quiet)))


def _held(causes: Mapping[str, int], language: Language) -> Alarm:
    given = [cause for cause in _CAUSES if causes.get(cause)]
    about = [
        About(
            f"{language.number(causes[cause])} {language.text(f'cause.{cause}.short')}", f"/deliveries?pending={cause}"
        )
        for cause in given
    ]
    level = _CAUSES[given[0]] if given else "none"
    return Alarm("held", "waits", level, sum(causes.values()), about, f"/deliveries?pending={ANY_CAUSE}")


def dead_letters(waiting: Mapping[DeadReason | None, int] | None, since_start: Mapping[str, int]) -> dict[str, int]:
    """Return the dead letters by reason, most of them first; the reason of another version's is empty.

    Args:
        waiting: those that wait, by reason; None: nobody has counted them.
        since_start: those since the workers started, which are counted anyway.
    """
    found = since_start if waiting is None else {"" if each is None else each.value: n for each, n in waiting.items()}
    return {reason: number for reason, number in sorted(found.items(), key=lambda item: -item[1]) if number}


class Cell(NamedTuple):
    """The messages of one channel at one status, and the width of their bar in percent."""

    messages: int
    width: float


class StatusRow(NamedTuple):
    """One status over all channels; None where a channel does not have it."""

    status: str
    #: By the name of the channel.
    cells: list[tuple[str, Cell | None]]
    total: int


def by_status(messages: Mapping[str, Mapping[str, int]]) -> list[StatusRow]:
    """Return a row for each status; bars compare the statuses of one channel."""
    rows = []
    for status, definition in DEFINITIONS.items():
        cells: list[tuple[str, Cell | None]] = []
        for channel in Channel:
            counts = messages.get(channel.value, {})
            largest = max(counts.values(), default=0)
            count = counts.get(status.value, 0)
            width = round(max(100 * count / largest, 1.0), 2) if count else 0.0
            cells.append((channel.value, Cell(count, width) if channel in definition.channels else None))
        rows.append(StatusRow(status.value, cells, sum(cell.messages for _, cell in cells if cell is not None)))
    return rows


def totals(messages: Mapping[str, Mapping[str, int]], success_from: SuccessFrom) -> dict[str, int]:
    """Return how many messages there are, and how many of them are a success or failed."""
    summed: dict[str, int] = defaultdict(int)
    for counts in messages.values():
        for status, count in counts.items():
            summed[status] += count
    return {
        "all": sum(summed.values()),
        "success": sum(summed[status.value] for status in INDICATED[success_from][Indicator.SUCCESS]),
        "failed": sum(summed[status.value] for status in STATUSES_OF[Indicator.ERROR]),
    }


class PartitionRow(NamedTuple):
    """The partitions of one topic that one worker has in one state."""

    stage: str
    topic: str
    owner: str | None
    numbers: str
    state: str
    icon: str
    lag: int


class Partitions(NamedTuple):
    """All partitions, grouped, and their sums."""

    rows: list[PartitionRow]
    all: int
    running: int
    lag: int


_STATE_ICONS = {"running": "good", "recovering": "recovering"}


def partitions(listed: Sequence[PartitionView]) -> Partitions:
    """Group partitions by topic, owner and state: among hundreds of them the differences matter."""
    groups: dict[tuple[str, str, str, str], list[PartitionView]] = defaultdict(list)
    for each in listed:
        groups[each.stage, each.topic, each.owner or "", each.state].append(each)
    rows = [
        PartitionRow(
            stage,
            topic,
            owner or None,
            ranges(each.partition for each in group),
            state,
            _STATE_ICONS.get(state, "alert"),
            sum(each.lag or 0 for each in group),
        )
        for (stage, topic, owner, state), group in sorted(groups.items())
    ]
    running = sum(each.state == "running" for each in listed)
    return Partitions(rows, len(listed), running, sum(row.lag for row in rows))


_TO = "\N{EN DASH}"


def ranges(numbers: Iterable[int]) -> str:
    """Write numbers as runs: those of 0, 1, 2, 5 are 0 to 2, and 5."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}{_TO}{high}" for low, high in runs)


# A delivery


def only_channel(view: DeliveryView) -> Channel | None:
    """Return the channel of a delivery; None where its messages have several."""
    return view.channel if len(view.channels) < 2 else None


def legend(statuses: Mapping[str, int], channel: Channel | None) -> list[tuple[str, int]]:
    """Return the statuses that the channel has or that count something, in the order of the bar."""
    has = {status.value for status, each in DEFINITIONS.items() if channel is None or channel in each.channels}
    return [(status, statuses.get(status, 0)) for status in charts.ORDER if status in has or statuses.get(status)]


def stoppable(statuses: Mapping[str, int], channel: Channel | None) -> int:
    """Count the messages that a cancel still reaches."""
    channels = list(Channel) if channel is None else [channel]
    return _at(statuses, {node for each in channels for node in CANCELABLE[each]})


def held(statuses: Mapping[str, int]) -> int:
    """Count the messages that a pause holds: nobody has taken them."""
    return _at(statuses, {node for node in Node if MAY_BE_HELD[node]})


def _at(statuses: Mapping[str, int], nodes: AbstractSet[Node]) -> int:
    reached = {NODE_STATUS[node].value for node in nodes}
    return sum(count for status, count in statuses.items() if status in reached)


def cause_text(pending: PendingView | None, language: Language) -> str:
    """Return why a delivery is pending; nothing, where it is not."""
    if pending is None:
        return ""
    return language.text(f"cause.{pending.cause.value}.text", running=pending.running, limit=pending.limit)


class ReasonRow(NamedTuple):
    """Messages that failed or were ignored for one reason."""

    category: str
    code: int | None
    kind: str
    messages: int


def reasons(view: DeliveryView) -> list[ReasonRow]:
    """Return the reasons of failures and of what was ignored, the commonest first."""
    rows = [
        ReasonRow(category, ADOBE_CODES.get(Category(category)), kind, count)
        for kind, counts in (("failed", view.failures), ("ignored", view.indicators.ignored))
        for category, count in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row.messages, row.category))


def facts(view: DeliveryView) -> list[tuple[str, str]]:
    """Return the dated facts of a delivery that are known, by time."""
    dated = (
        ("scheduled_at", view.scheduled_at),
        ("started_at", view.started_at),
        ("paused_at", view.paused_at),
        ("finished_at", view.finished_at),
        ("canceled_at", view.canceled_at),
        ("first_activity", view.first_activity),
        ("last_activity", view.last_activity),
        ("estimated_end", view.estimated_end),
    )
    return sorted([(name, date) for name, date in dated if date], key=lambda fact: parse(fact[1]))


class AuditEntry(NamedTuple):
    """An action, or a fact that was told: when, and when the action was last reported again."""

    time: str
    what: str
    value: str
    again: str | None


def audit(view: DeliveryView) -> list[AuditEntry]:
    """Return what was done to a delivery and told of it, the newest first."""
    done = [
        AuditEntry(each.first, each.action.value, "", each.last if each.last != each.first else None)
        for each in view.actions or ()
    ]
    told = [AuditEntry(each.time, each.fact, each.value, None) for each in view.told or ()]
    return sorted([*done, *told], key=lambda entry: (parse(entry.time), entry.what), reverse=True)


# A message


class LifeStep(NamedTuple):
    """One node of a message's life; `standing` is the node that it contradicts, when its effect was withheld."""

    node: str
    attempt: int
    first: str
    last: str
    again: bool
    gap: float | None
    is_now: bool
    standing: str | None
    source: str | None


def shape(view: MessageView) -> str:
    """Return the node at which a message stands."""
    gave_up = view.permanence is Permanence.GAVE_UP
    return NODE_NAMES[Node.FAILED_GAVE_UP] if gave_up else view.status.value


def life(view: MessageView) -> list[LifeStep]:
    """Return what was reported of a message, by time."""
    here = shape(view)
    # A status that the channel does not have was rejected at no time: it contradicts where the message stands.
    rejected = {each.node: each.standing or here for each in view.rejected}
    now = max((index for index, each in enumerate(view.history) if each.node == here), default=None)
    steps: list[LifeStep] = []
    before: datetime | None = None
    for index, each in enumerate(view.history):
        first = parse(each.first)
        gap = None if before is None else (first - before).total_seconds()
        is_again, standing = each.first != each.last, rejected.get(each.node)
        steps.append(
            LifeStep(
                each.node, each.attempt, each.first, each.last, is_again, gap, index == now, standing, view.provider
            )
        )
        before = first
    return steps
