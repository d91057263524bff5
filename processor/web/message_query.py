"""The query of a list of messages: its parameters, and what its cursors name."""

from __future__ import annotations

from collections.abc import Mapping

from processor.domain.moment import Micros, to_rfc3339
from processor.domain.reason import Category
from processor.domain.status import Channel, Permanence, Status
from processor.domain.transitions import NODE_NAMES, Node
from processor.views.breakdown import OFFERED
from processor.views.message_query import DEFAULT_LIMIT, MAX_LIMIT, CountedAs
from processor.web.parameters import Parameter, choice, flag, moment, named, text, whole

#: A time, a slash and a reference, which may be sealed.
_CURSOR_MAX = 6_000

#: Formats of streams by their media types.
STREAM_FORMATS: Mapping[str, str] = {"csv": "text/csv", "ndjson": "application/x-ndjson"}

#: What reports may be of, by name.
_NODES: Mapping[str, Node] = {NODE_NAMES[node]: node for node in Node}

#: The parameters, named as the fields of `MessageQuery`, but for the format; the cursor becomes its `after`.
MESSAGE_PARAMETERS: tuple[Parameter, ...] = (
    text("delivery", "Only messages of this delivery; empty: those that name none.", min_length=0),
    choice("channel", Channel, "Only messages on this channel."),
    choice("status", Status, "Only messages at this status."),
    choice("category", Category, "Only messages with a reason of this category."),
    choice("permanence", Permanence, "Only messages that failed so, or whose last attempt did."),
    choice("indicator", CountedAs, "Only messages that this indicator of their delivery counts."),
    text("provider", "Only messages of this provider."),
    text("domain", "Only messages to this mail domain, or to numbers of this calling code, as `+46`."),
    text(
        "recipient",
        "Only messages to this recipient: the whole address or number; case, spaces and a number's hyphens, `+` and "
        "leading `00` do not matter.",
    ),
    text("provider_message_id", "Only messages with this id at their provider."),
    moment("since", "Only messages that have had their status since then or later, by event time."),
    moment("until", "Only messages that have had their status since then or earlier, by event time."),
    flag("stuck", "Only messages that are stuck, or that are not."),
    flag("unanswered", "Only messages that were handed over and wait for their provider's answer, or that do not."),
    named("rejected", _NODES, "Only messages of which a report of this was rejected, since it contradicts the others."),
    whole("limit", 1, MAX_LIMIT, DEFAULT_LIMIT, "Most messages on one page."),
    text(
        "cursor",
        "The `next` of the previous page; or `since/reference` of any message, to go on behind it.",
        max_length=_CURSOR_MAX,
    ),
    choice("format", STREAM_FORMATS, "Stream the whole list in this format, as `Accept` does; for links."),
)

#: Which messages to break down, and by what.
BREAKDOWN_PARAMETERS: tuple[Parameter, ...] = (
    choice(
        "by",
        OFFERED,
        "What to put messages together by: the recipient's mail domain or calling code (`place`, unless given), the "
        "category of the reason, or category and words of it (`rule`).",
    ),
    *[each for each in MESSAGE_PARAMETERS if each.name not in {"limit", "cursor", "format"}],
)

_TIME = moment("cursor", "")


def write_cursor(since: Micros, reference: str) -> str:
    """Return the cursor that names a place in a list."""
    return f"{to_rfc3339(since)}/{reference}"


def read_cursor(cursor: str) -> tuple[Micros, str]:
    """Return the time and the reference that a cursor names.

    Raises:
        ValueError: it is none of ours.
    """
    since, slash, reference = cursor.partition("/")
    if not slash or not reference:
        raise ValueError("is none of ours")
    return Micros(_TIME.parse(since)), reference
