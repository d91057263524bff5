"""Commands about deliveries: `deliveries`, `delivery`, `control`, `pause`, `resume`, `finish`, `cancel`."""

from __future__ import annotations

import difflib
from datetime import datetime, timezone
from typing import Any

import click
import msgspec

from processor.cli.auditing import write_down
from processor.cli.common import EXIT_NOT_FOUND, EXIT_USAGE, Failure, echo, echo_table, json_option
from processor.cli.connection import run_async, settings_from_environment
from processor.cli.known import known_deliveries, present
from processor.cli.options import names_of, parse_moment
from processor.domain.delivery import Action, Cause, Control, State
from processor.domain.moment import to_microseconds, to_millis
from processor.domain.status import DEFINITIONS, Channel, Status
from processor.domain.traits import CANCELABLE, MAY_BE_HELD
from processor.domain.transitions import NODE_STATUS, Node
from processor.engine.admin import count_partitions
from processor.engine.streams import Outgoing, Writer
from processor.printable import printable
from processor.settings import Settings
from processor.views.deliveries import Deliveries, DeliveryView
from processor.views.listing import ANY_CAUSE, DEFAULT_LIMIT, DEFAULT_SORT, SORTS, DeliveryList, Query, list_deliveries
from processor.views.steering import obstacle, refusal
from processor.wire.audit import Deed
from processor.wire.control import decode_control, encode_control
from processor.wire.deadletters import UnusableError
from processor.wire.topics import CONTROL

#: Where a message may still be cancelled, on one channel or the other.
_CANCELABLE = {NODE_STATUS[node] for nodes in CANCELABLE.values() for node in nodes}
#: Where nobody has taken a message yet.
_HELD = {NODE_STATUS[node] for node in Node if MAY_BE_HELD[node]}


def _write(value: object) -> None:
    click.get_binary_stream("stdout").write(msgspec.json.encode(value) + b"\n")


# Asking


@click.command()
@click.option("--channel", type=names_of(Channel), help="Only those of one channel.")
@click.option("--status", type=names_of(Status), help="Only those that have messages at a status.")
@click.option("--provider", default="", help="Only those that have messages of a provider.")
@click.option("--state", type=names_of(State), help="Only those in one state.")
@click.option("--pending", type=click.Choice([ANY_CAUSE, *[cause.value for cause in Cause]]), help="Only pending ones.")
@click.option("--since", callback=parse_moment, metavar="TIME", help="Only those that changed since then.")
@click.option("--search", default="", metavar="TEXT", help="Only those with this in their id, label or campaign.")
@click.option(
    "--sort", type=click.Choice(SORTS), default=DEFAULT_SORT, metavar="NAME", help="Sort key; -NAME reverses it."
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=DEFAULT_LIMIT, show_default=True, help="Maximum number to list."
)
@json_option
def deliveries(as_json: bool, since: datetime | None, search: str, **given: Any) -> None:
    """List deliveries with their progress and why they are pending. --json writes one object a line."""
    settings = settings_from_environment()
    for name, kind in (("channel", Channel), ("status", Status), ("state", State)):
        given[name] = None if given[name] is None else kind(given[name])
    given["pending"] = given["pending"] or ""
    query = Query(q=search, since=None if since is None else to_microseconds(since), **given)
    found = list_deliveries(run_async(settings, lambda: known_deliveries(settings)), query, present())
    if as_json:
        for item in found.items:
            _write(item)
    else:
        _tell_list(found)


def _tell_list(found: DeliveryList) -> None:
    echo_table(
        ("delivery", "label", "state", "messages", "success", "failed", "pending"),
        [
            (
                item.delivery_id or "(not named)",
                item.label or "",
                item.state.value,
                item.messages,
                item.indicators.success,
                item.indicators.failed,
                "" if item.pending is None else item.pending.cause.value,
            )
            for item in found.items
        ],
    )
    if found.total > len(found.items):
        echo(f"{len(found.items):,} of {found.total:,}; --limit shows more, --search and the other filters fewer")


@click.command()
@click.argument("delivery_id")
@json_option
def delivery(delivery_id: str, as_json: bool) -> None:
    """Show one delivery: messages by status, indicators, and why it is pending."""
    settings = settings_from_environment()
    known = run_async(settings, lambda: known_deliveries(settings))
    view = known.one(delivery_id, present())
    if view is None:
        raise _unknown(known, delivery_id)
    # What this command did not watch it cannot tell: how the counts grew.
    view = msgspec.structs.replace(view, series=msgspec.UNSET)
    if as_json:
        _write(view)
    else:
        _tell_delivery(view)


def _unknown(known: Deliveries, delivery_id: str, more: str = "") -> Failure:
    near = difflib.get_close_matches(delivery_id, known.entries, n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "`delivery-status deliveries` lists them"
    return Failure(f"delivery {delivery_id!r} is not known{more}; {hint}", EXIT_NOT_FOUND)


def _tell_delivery(view: DeliveryView) -> None:
    echo(f"{view.delivery_id}: {view.label or view.state.value}")
    indicators, rates = view.indicators, view.rates
    facts = {
        "state": view.state.value if view.label else "",
        "pending": view.pending and f"{view.pending.cause.value}: {view.pending.detail}",
        "campaign": view.campaign,
        "channel": view.channel and view.channel.value,
        "planned": view.planned is not None and f"{view.planned:,}",
        "scheduled": view.scheduled_at,
        "started": view.started_at,
        "paused": view.paused_at,
        "finished": view.finished_at,
        "canceled": view.canceled_at,
        "activity": view.first_activity and f"{view.first_activity} to {view.last_activity}",
        "rate": rates.per_second is not None and f"{rates.per_second:,.1f} a second",
        "end": view.estimated_end and f"{view.estimated_end} at this rate",
        "processed": f"{indicators.processed:,}",
        "success": _told_share(indicators.success, rates.success),
        "failed": _told_share(indicators.failed, rates.failed) + _told_bounces(view),
        "ignored": ", ".join(f"{category} {number:,}" for category, number in indicators.ignored.items()),
        "providers": ", ".join(f"{name} {number:,}" for name, number in view.providers.items()),
        "expired": view.expired and f"{view.expired:,} of the messages are no longer kept, and counted still",
    }
    for name, fact in facts.items():
        if fact:
            echo(f"  {name:10}{fact}")
    shown = [(DEFINITIONS[status].english, view.statuses[status.value]) for status in Status]
    echo_table(("status", "messages"), [*[row for row in shown if row[1]], ("all", view.messages)])


def _told_share(number: int, share: float | None) -> str:
    return f"{number:,}" + (f" ({share:.1%})" if share is not None else "")


def _told_bounces(view: DeliveryView) -> str:
    return f", hard {view.indicators.hard:,}, soft {view.indicators.soft:,}" if view.indicators.failed else ""


# Telling


@click.command()
@click.argument("delivery_id")
@click.argument("action", type=click.Choice([action.value for action in Action if action is not Action.CANCEL]))
@click.option("--label", help="Its name for people.")
@click.option("--campaign", help="Its campaign.")
@click.option("--channel", type=names_of(Channel), help="The channel of its messages.")
@click.option("--planned", type=click.IntRange(min=0), help="How many messages it will have.")
@click.option("--scheduled-at", callback=parse_moment, metavar="TIME", help="Start time; required by `schedule`.")
@json_option
def control(delivery_id: str, action: str, channel: str | None, as_json: bool, **facts: Any) -> None:
    """Publish a control record: an action on a delivery, and facts about it. To cancel, use `cancel`."""
    settings = settings_from_environment()
    told = Channel(channel) if channel is not None else None
    record = Control(datetime.now(timezone.utc), delivery_id, Action(action), channel=told, **facts)
    _check(record)
    run_async(settings, lambda: _publish(settings, record))
    _tell_published(settings, record, as_json)


def _check(record: Control) -> None:
    """Validate a record as the processor will."""
    try:
        decode_control(encode_control(record), to_millis(to_microseconds(record.time)))
    except (UnusableError, UnicodeEncodeError) as error:
        raise click.UsageError(str(getattr(error, "detail", error))) from None


async def _publish(settings: Settings, record: Control) -> None:
    topic = settings.topic(CONTROL)
    is_cancel = record.action is Action.CANCEL
    deed, detail = (Deed.CANCEL, None) if is_cancel else (Deed.CONTROL, record.action.value)
    await write_down(settings, deed, record.delivery_id, detail)
    # A producer would wait a minute for a topic that is not there.
    await count_partitions(settings, topic)
    async with Writer(settings) as writer:
        await writer.write(Outgoing(topic, encode_control(record), record.delivery_id.encode()))


def _tell_published(settings: Settings, record: Control, as_json: bool) -> None:
    topic = settings.topic(CONTROL)
    if as_json:
        _write({"published": 1, "topic": topic, "record": record})
    else:
        echo(f"published {record.action.value} of {record.delivery_id} to {topic}")


@click.command()
@click.argument("delivery_id")
@json_option
def pause(delivery_id: str, as_json: bool) -> None:
    """Pause a delivery: what was not handed over waits, and is not called stuck.

    It is a note for all who read the delivery: its sender must follow it.
    """
    _steer(delivery_id, Action.PAUSE, as_json)


@click.command()
@click.argument("delivery_id")
@json_option
def resume(delivery_id: str, as_json: bool) -> None:
    """Resume a delivery that is paused."""
    _steer(delivery_id, Action.RESUME, as_json)


@click.command()
@click.argument("delivery_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def finish(delivery_id: str, yes: bool, as_json: bool) -> None:
    """Finish a delivery, for good: no more messages come."""
    _steer(delivery_id, Action.FINISH, as_json, yes=yes)


def _steer(delivery_id: str, action: Action, as_json: bool, *, yes: bool = True) -> None:
    settings = settings_from_environment()
    record = Control(datetime.now(timezone.utc), delivery_id, action)
    _check(record)
    known = run_async(settings, lambda: known_deliveries(settings))
    view = known.one(delivery_id, present())
    if view is None:
        raise _unknown(known, delivery_id, ", and `control` publishes it all the same")
    found = obstacle(view, action)
    if found is not None:
        raise Failure(f"{delivery_id}: {refusal(view, action, found)}: nothing was published")
    if not yes:
        left = sum([view.statuses[status.value] for status in _HELD])
        _confirm("Finish", view.delivery_id, view, f"{left:,} of its {view.messages:,} messages were not handed over")
    run_async(settings, lambda: _publish(settings, record))
    _tell_published(settings, record, as_json)


@click.command()
@click.argument("delivery_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also cancel an unknown delivery, whose messages may come later.")
@json_option
def cancel(delivery_id: str, yes: bool, force: bool, as_json: bool) -> None:
    """Cancel a delivery, for good.

    What was not sent yet is cancelled, also messages that turn up later; what was sent stays sent.
    """
    settings = settings_from_environment()
    record = Control(datetime.now(timezone.utc), delivery_id, Action.CANCEL)
    _check(record)
    known = run_async(settings, lambda: known_deliveries(settings))
    view = known.one(delivery_id, present())
    if view is None and not force:
        raise _unknown(known, delivery_id, ", and --force cancels it all the same")
    if view is not None and view.canceled_at is not None:
        _tell_canceled(settings, view, as_json)
        return
    if not yes:
        left = sum([view.statuses[status.value] for status in _CANCELABLE]) if view is not None else 0
        about = (
            f"{left:,} of its {view.messages:,} messages may still be cancelled" if view else "nothing is known of it"
        )
        _confirm("Cancel", delivery_id, view, about)
    run_async(settings, lambda: _publish(settings, record))
    _tell_published(settings, record, as_json)


def _tell_canceled(settings: Settings, view: DeliveryView, as_json: bool) -> None:
    if as_json:
        _write({"published": 0, "topic": settings.topic(CONTROL), "canceled_at": view.canceled_at})
    else:
        echo(f"{view.delivery_id} was cancelled at {view.canceled_at}: nothing was published")


def _confirm(what: str, delivery_id: str, view: DeliveryView | None, about: str) -> None:
    named = f"{delivery_id} ({view.label})" if view is not None and view.label else delivery_id
    try:
        agreed = click.confirm(f"{what} {printable(named)}? {about}, and this cannot be undone.", err=True)
    except click.Abort:
        raise Failure("nobody is there to confirm it; --yes does not ask", EXIT_USAGE) from None
    if not agreed:
        raise Failure("nothing was published")
