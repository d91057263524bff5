"""The query of a list of deliveries: its parameters, for the API and the page alike, and what they ask for."""

from __future__ import annotations

from collections.abc import Mapping

from processor.domain.delivery import Cause, State
from processor.domain.status import Channel, Status
from processor.views.listing import ANY_CAUSE, SORTS, Query
from processor.web.parameters import Parameter, choice, flag, moment, parse_query, text, whole

#: The parameters, named as the fields of `Query`.
LIST_PARAMETERS: tuple[Parameter, ...] = (
    choice("channel", Channel, "Only deliveries with messages on this channel."),
    choice("status", Status, "Only deliveries with messages at this status."),
    text("provider", "Only deliveries with messages of this provider."),
    choice("state", State, "Only deliveries in this state."),
    moment("since", "Only deliveries of which anything happened since then, by event time."),
    flag("stuck", "Only deliveries that have stuck messages, or that have none."),
    choice(
        "pending", (ANY_CAUSE, *[cause.value for cause in Cause]), "Only pending deliveries: for this cause, or any."
    ),
    text("q", "Only deliveries with this in their id, label or campaign.", max_length=200),
    choice("sort", SORTS, "Order; `-` reverses it. Deliveries without a value come last."),
    whole("limit", 1, 500, 50, "Most deliveries on one page."),
    text("cursor", "The `next` of the previous page, with the same sort.", max_length=4_000),
)


def list_query(given: Mapping[str, str]) -> Query:
    """Parse the query of a list of deliveries.

    Raises:
        ProblemError: a parameter is unknown or repeated, or does not take its value.
    """
    return Query(**parse_query(given, LIST_PARAMETERS))
