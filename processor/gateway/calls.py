"""Count what became of the calls of each route since the start, for whoever asks how providers are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from processor.domain.moment import Micros
from processor.gateway.config import Route
from processor.metrics import GatewayMetrics, Provider
from processor.metrics.labels import WEBHOOK_OUTCOMES, ByCaller, ByWebhook, WebhookOutcome
from processor.views.gateways import RouteReport

#: Characters of a reason that are remembered: a stranger may have a hand in it.
_MAX_REASON = 300
#: Outcomes of calls that have been verified for certain; "again" may be said before.
_VERIFIED: tuple[WebhookOutcome, ...] = ("taken", "spooled", "malformed")


class RouteCalls:
    """The calls of one route.

    Args:
        route: which.
        metrics: of all routes.
    """

    def __init__(self, route: Route, metrics: GatewayMetrics) -> None:
        self._route = route
        provider = Provider(route.provider)
        # Looked up here: labels cost more than counting.
        self._by_outcome = {
            outcome: metrics.webhooks.labels(ByWebhook(provider, outcome)) for outcome in WEBHOOK_OUTCOMES
        }
        self._last = metrics.last_webhook.labels(ByCaller(provider))
        self.seconds = metrics.webhook_seconds.labels(ByCaller(provider))
        self._counts: Counter[str] = Counter()
        self._last_call: Micros | None = None
        self._last_refused: Micros | None = None
        self._refusal: str | None = None

    def see(self, outcome: WebhookOutcome, now: Micros, reason: str) -> None:
        """Count a call; `reason` tells why one was refused."""
        self._counts[outcome] += 1
        self._by_outcome[outcome].inc()
        if outcome in _VERIFIED:
            self._last_call = now
            self._last.set(now / 1_000_000)
        elif outcome == "refused":
            self._last_refused, self._refusal = now, reason[:_MAX_REASON]

    def report(self) -> RouteReport:
        """Return what there is to say."""
        counts = self._counts
        return RouteReport(
            path=self._route.path,
            provider=self._route.provider,
            account=self._route.account,
            taken=counts["taken"] + counts["spooled"],
            spooled=counts["spooled"],
            refused=counts["refused"],
            malformed=counts["malformed"],
            again=counts["again"],
            last_call=self._last_call,
            last_refused=self._last_refused,
            refusal=self._refusal,
        )


class Calls:
    """The calls of all routes, by route and, as metrics, by provider."""

    def __init__(self, routes: Iterable[Route], metrics: GatewayMetrics) -> None:
        self._by_path = {route.path: RouteCalls(route, metrics) for route in routes}

    def see(self, route: Route, outcome: WebhookOutcome, now: Micros, reason: str = "") -> None:
        """Count a call; `reason` tells why one was refused."""
        self._by_path[route.path].see(outcome, now, reason)

    def see_time(self, route: Route, seconds: float) -> None:
        """Add how long a call waited for its answer."""
        self._by_path[route.path].seconds.observe(seconds)

    def reports(self) -> tuple[RouteReport, ...]:
        """Return what there is to say of each route."""
        return tuple(calls.report() for calls in self._by_path.values())
