"""Merge what the gateways tell of providers' calls, from the reports of all of them.

A gateway reports what it has counted since it started. One that does not answer is named, never passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

import msgspec

from processor.domain.moment import Micros, to_rfc3339
from processor.watch.silence import Answering

# What a gateway reports of itself


class RouteReport(msgspec.Struct, frozen=True):
    """The calls of one route since the gateway started."""

    #: Of the address, as `/hooks/twilio/main`.
    path: str
    provider: str
    account: str
    #: Calls by what became of them. Those kept on disk are among the taken ones.
    taken: int = 0
    spooled: int = 0
    refused: int = 0
    malformed: int = 0
    again: int = 0
    #: When a verified call came last, and when one was refused, and why; null: never.
    last_call: Micros | None = None
    last_refused: Micros | None = None
    refusal: str | None = None


class GatewayReport(msgspec.Struct, frozen=True):
    """The report of one gateway."""

    routes: tuple[RouteReport, ...]
    #: Records that wait on its disk for Kafka, and when the oldest came.
    waiting: int = 0
    oldest: Micros | None = None


# What people are told


class WebhookView(msgspec.Struct, frozen=True):
    """The calls of one route at all gateways, counted since each of them started."""

    path: str
    provider: str
    account: str | None
    taken: int
    #: Of the taken ones, those kept on a gateway's disk until Kafka took them.
    spooled: int
    refused: int
    malformed: int
    #: Calls that the provider was asked to repeat, since nothing could keep them.
    again: int
    last_call: str | None
    last_refused: str | None
    #: Why the last one was refused.
    refusal: str | None
    #: Whether the provider reports on the messages handed over to it; null: not known now.
    answering: Answering | None


class GatewayView(msgspec.Struct, frozen=True):
    """One gateway. `waiting` and `oldest` are of records on its disk; null: it does not answer, or there are none."""

    url: str
    answers: bool
    waiting: int | None
    oldest: str | None


class GatewayList(msgspec.Struct, frozen=True):
    """All gateways that are asked, and the routes of those that answer."""

    gateways: tuple[GatewayView, ...]
    routes: tuple[WebhookView, ...]


def gateway_list(reports: Mapping[str, GatewayReport | None], answering: Mapping[str, Answering]) -> GatewayList:
    """Merge the reports of gateways.

    Args:
        reports: by URL; None: it does not answer.
        answering: of providers, as far as known.
    """
    routes = sorted(
        (route for report in reports.values() if report is not None for route in report.routes),
        key=lambda route: route.path,
    )
    return GatewayList(
        tuple(_gateway(url, report) for url, report in reports.items()),
        tuple(_webhook(tuple(same), answering) for _, same in groupby(routes, lambda route: route.path)),
    )


def _gateway(url: str, report: GatewayReport | None) -> GatewayView:
    if report is None:
        return GatewayView(url, answers=False, waiting=None, oldest=None)
    return GatewayView(url, answers=True, waiting=report.waiting, oldest=_moment(report.oldest))


def _webhook(same: tuple[RouteReport, ...], answering: Mapping[str, Answering]) -> WebhookView:
    refusing = max(same, key=lambda route: route.last_refused or 0)
    return WebhookView(
        path=same[0].path,
        provider=same[0].provider,
        account=same[0].account or None,
        taken=sum(route.taken for route in same),
        spooled=sum(route.spooled for route in same),
        refused=sum(route.refused for route in same),
        malformed=sum(route.malformed for route in same),
        again=sum(route.again for route in same),
        last_call=_moment(_latest(route.last_call for route in same)),
        last_refused=_moment(refusing.last_refused),
        refusal=refusing.refusal,
        answering=answering.get(same[0].provider),
    )


def _latest(moments: Iterable[Micros | None]) -> Micros | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _moment(moment: Micros | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)
