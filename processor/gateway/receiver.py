"""What becomes of a call: it is verified, made records of, kept, and answered in its provider's words."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from processor.domain.moment import Millis, from_seconds, to_millis, to_rfc3339
from processor.engine.streams import Outgoing
from processor.gateway import firehose
from processor.gateway.calls import Calls
from processor.gateway.dialects import CHALLENGE, Answer, Reading, refusal_of, trace_of
from processor.gateway.endpoints import Endpoint
from processor.gateway.expanding import UnrecordableError, expand
from processor.gateway.keeper import Keeper, Kept
from processor.gateway.keys import key_of
from processor.gateway.records import Record, records_of
from processor.gateway.spool import SpoolError
from processor.gateway.tokens import Tokens
from processor.gateway.verifiers import Call, Refused, choose, mailgun, octets_of, verify
from processor.logs import get_logger
from processor.metrics import GatewayMetrics
from processor.metrics.labels import ByCaller, ByWebhook, WebhookOutcome

log = get_logger(__name__)

#: Octets of a header that a record keeps of a call.
_MAX_HEADER = 500
#: How many times the octets of a record a call may expand to.
_MAX_EXPANDED = 64 * 2**20

_OUTCOMES: dict[Kept, WebhookOutcome] = {Kept.TAKEN: "taken", Kept.SPOOLED: "spooled"}


class _End(NamedTuple):
    """What became of a call, and what it is answered."""

    outcome: WebhookOutcome
    answer: Answer
    #: Why it was refused.
    reason: str = ""


class Receiver:
    """Receives calls.

    Args:
        keeper: of their records.
        metrics: where calls are counted, by provider.
        calls: where they are counted by route.
        limit: octets of a record's value.
        clock: seconds since 1970.
    """

    def __init__(
        self, keeper: Keeper, metrics: GatewayMetrics, calls: Calls, limit: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._keeper, self._metrics, self._calls, self._limit, self._clock = keeper, metrics, calls, limit, clock
        self._tokens: dict[str, Tokens] = {}

    async def receive(self, endpoint: Endpoint, call: Call) -> Answer:
        """Receive a call; what it says is safe when it is answered as taken."""
        began, now = time.perf_counter(), self._clock()
        end = await self._receive(endpoint, call, now)
        provider = endpoint.provider
        self._metrics.webhooks.labels(ByWebhook(provider, end.outcome)).inc()
        self._calls.see(endpoint.route, end.outcome, from_seconds(now), end.reason)
        self._metrics.webhook_seconds.labels(ByCaller(provider)).observe(time.perf_counter() - began)
        if endpoint.dialect.reading is Reading.FIREHOSE and firehose.is_delivery(call):
            return firehose.answer(call, end.answer, self._clock())
        return end.answer

    async def _receive(self, endpoint: Endpoint, call: Call, now: float) -> _End:
        dialect = endpoint.dialect
        try:
            self._verify(endpoint, call, now)
        except Refused as refused:
            return _refused(endpoint, call, refused)
        self._metrics.last_webhook.labels(ByCaller(endpoint.provider)).set(now)
        try:
            records = self._records(endpoint, call, now)
        except UnrecordableError as error:
            log.warning("webhook_malformed", route=endpoint.route.path, reason=str(error))
            return _End("malformed", dialect.never)
        try:
            kept = await self._keeper.keep(records, dialect.deadline) if records else Kept.TAKEN
        except SpoolError:
            return _End("again", dialect.again)
        self._remember(endpoint, call, now)
        return _End(_OUTCOMES[kept], dialect.taken)

    def _verify(self, endpoint: Endpoint, call: Call, now: float) -> None:
        trust = endpoint.trust
        if endpoint.route.provider == "mailgun":
            trust = trust._replace(tokens=self._tokens_of(endpoint))
        verify(choose(endpoint.schemes, call), trust, call, now)

    def _tokens_of(self, endpoint: Endpoint) -> Tokens:
        path = endpoint.route.path
        if path not in self._tokens:
            # A time may be as far ahead as it may lie behind.
            self._tokens[path] = Tokens(2 * endpoint.route.max_age)
        return self._tokens[path]

    def _remember(self, endpoint: Endpoint, call: Call, now: float) -> None:
        if endpoint.route.provider != "mailgun" or endpoint.route.verify != "signature":
            return
        tokens, digest = self._tokens_of(endpoint), mailgun.digest_of(call)
        for token in mailgun.tokens_of(call):
            tokens.remember(token, digest, now)

    def _records(self, endpoint: Endpoint, call: Call, now: float) -> list[Outgoing]:
        encodings = call.headers.get("content-encoding", ())
        for encoding in reversed(encodings):
            call = call._replace(body=expand(call.body, encoding, _MAX_EXPANDED))
        made = records_of(endpoint.dialect, call, endpoint.trust.secrets, self._limit)
        received = from_seconds(now)
        headers = [*endpoint.headers, ("received", to_rfc3339(received).encode())]
        headers += _header("content-type", call.headers)
        trace = trace_of(endpoint.dialect, call)
        if trace is not None:
            headers.append(("trace", octets_of(trace)[:_MAX_HEADER]))
        return [_outgoing(endpoint, record, headers, to_millis(received)) for record in made]


def _refused(endpoint: Endpoint, call: Call, refused: Refused) -> _End:
    route = endpoint.route
    answer = refusal_of(endpoint.dialect, call, route.verify, again=refused.again or route.refused == "again")
    if answer is CHALLENGE:
        return _End("asked", answer)
    log.warning("webhook_refused", route=route.path, reason=str(refused))
    return _End("refused", answer, str(refused))


def _header(name: str, headers: Mapping[str, tuple[str, ...]]) -> list[tuple[str, bytes]]:
    return [(name, octets_of(value)[:_MAX_HEADER]) for value in headers.get(name, ())[:1]]


def _outgoing(endpoint: Endpoint, record: Record, headers: list[tuple[str, bytes]], timestamp: Millis) -> Outgoing:
    told = [*headers, ("query", octets_of(record.query))] if record.query else headers
    key = key_of(endpoint.route.provider, record.value)
    return Outgoing(endpoint.topic, record.value, key, tuple(told), timestamp)
