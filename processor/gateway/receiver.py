"""Receive a call: verify it, make records of it, have them kept, and answer in its provider's words."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from processor.domain.moment import Millis, from_seconds, to_millis, to_rfc3339
from processor.engine.streams import Outgoing
from processor.gateway import firehose
from processor.gateway.bounds import Rate
from processor.gateway.calls import Calls
from processor.gateway.config import SNS_PROVIDERS
from processor.gateway.dialects import CHALLENGE, Answer, Reading, refusal_of, trace_of
from processor.gateway.endpoints import Endpoint
from processor.gateway.expanding import UnrecordableError, expand
from processor.gateway.keeper import Keeper, Kept
from processor.gateway.keys import key_of
from processor.gateway.records import Record, records_of
from processor.gateway.spool import SpoolError
from processor.gateway.subscriptions import Sns, UnavailableError
from processor.gateway.tokens import Tokens
from processor.gateway.verifiers import SNS, Call, Refused, Scheme, mailgun, octets_of, sns, verify
from processor.logs import get_logger
from processor.metrics.labels import WebhookOutcome

log = get_logger(__name__)

#: Octets of a header that a record keeps of a call, and those that a body may expand to.
_MAX_HEADER = 500
_MAX_EXPANDED = 64 * 2**20

_OUTCOMES: dict[Kept, WebhookOutcome] = {Kept.TAKEN: "taken", Kept.SPOOLED: "spooled"}

#: Gives the address that a call comes from, for people.
Client = Callable[[], str]


class _End(NamedTuple):
    """What became of a call, and what it is answered."""

    outcome: WebhookOutcome
    answer: Answer
    #: Why it was refused.
    reason: str = ""


class Limits(NamedTuple):
    """What a receiver takes at most."""

    #: Octets of a record's value.
    record: int
    #: Calls at a time that have arrived whole.
    calls: int


class Receiver:
    """Receives calls.

    Args:
        keeper: of their records.
        subscriptions: asks SNS.
        calls: where they are counted.
        limits: what is taken at most.
        clock: seconds since 1970.
    """

    def __init__(
        self, keeper: Keeper, subscriptions: Sns, calls: Calls, limits: Limits, clock: Callable[[], float] = time.time
    ) -> None:
        self._keeper, self._sns, self._calls = keeper, subscriptions, calls
        self._limits, self._clock = limits, clock
        self._present = 0
        self._tokens: dict[str, Tokens] = {}
        self._rates: dict[str, Rate] = {}

    def refusal(self, endpoint: Endpoint, scheme: Scheme, call: Call, client: Client) -> Answer | None:
        """Return the answer to a call whose head shows that it is not verified; None: it is, or its body is needed."""
        if not scheme.is_by_head:
            return None
        try:
            verify(scheme, endpoint.trust, call, self._clock())
        except Refused as refused:
            return self._ended(endpoint, call, _refused(endpoint, call, refused, client))
        return None

    def unread(self, endpoint: Endpoint, call: Call, outcome: WebhookOutcome, answer: Answer) -> Answer:
        """Count a call whose body was not taken; return what it is answered."""
        return self._ended(endpoint, call, _End(outcome, answer))

    async def receive(self, endpoint: Endpoint, scheme: Scheme, call: Call, client: Client) -> Answer:
        """Receive a call; what it says is safe when it is answered as taken.

        Args:
            endpoint: that was called.
            scheme: that `choose` has chosen for the call.
            call: as a whole.
            client: tells who calls.
        """
        began = time.perf_counter()
        if self._present >= self._limits.calls or not self._rate_of(endpoint).takes():
            return self._ended(endpoint, call, _End("again", endpoint.dialect.again))
        self._present += 1
        try:
            end = await self._receive(endpoint, scheme, call, client)
        finally:
            self._present -= 1
        self._calls.see_time(endpoint.route, time.perf_counter() - began)
        return self._ended(endpoint, call, end)

    def _ended(self, endpoint: Endpoint, call: Call, end: _End) -> Answer:
        self._calls.see(endpoint.route, end.outcome, from_seconds(self._clock()), end.reason)
        if endpoint.dialect.reading is Reading.FIREHOSE and firehose.is_delivery(call):
            return firehose.answer(call, end.answer, self._clock())
        return end.answer

    async def _receive(self, endpoint: Endpoint, scheme: Scheme, call: Call, client: Client) -> _End:
        dialect, now = endpoint.dialect, self._clock()
        try:
            message = await self._verified(endpoint, scheme, call, now)
            if message is not None and message.fields["Type"] != "Notification":
                return await self._subscribe(endpoint, message)
            records = self._records(endpoint, call, now)
            kept = await self._keeper.keep(records, dialect.deadline) if records else Kept.TAKEN
        except Refused as refused:
            return _refused(endpoint, call, refused, client)
        except UnrecordableError as error:
            log.warning("webhook_malformed", route=endpoint.route.path, reason=str(error))
            return _End("malformed", dialect.never)
        except UnavailableError as error:
            log.warning("sns_unavailable", route=endpoint.route.path, reason=str(error))
            return _End("again", dialect.again)
        except SpoolError:
            return _End("again", dialect.again)
        self._remember(endpoint, call, now)
        return _End(_OUTCOMES[kept], dialect.taken)

    # Verification

    async def _verified(self, endpoint: Endpoint, scheme: Scheme, call: Call, now: float) -> sns.Message | None:
        """Verify a call; return the message of SNS that it is, if so."""
        if scheme is SNS:
            return await self._verified_sns(endpoint, call, now)
        trust = endpoint.trust
        if endpoint.route.provider == "mailgun":
            trust = trust._replace(tokens=self._tokens_of(endpoint))
        verify(scheme, trust, call, now)
        if endpoint.route.provider in SNS_PROVIDERS and sns.is_handshake(call):
            # What delivers raw is verified otherwise; but what it asks us to fetch is signed by SNS alone.
            return await self._verified_sns(endpoint, call, now)
        return None

    async def _verified_sns(self, endpoint: Endpoint, call: Call, now: float) -> sns.Message:
        # The topic first: nothing is fetched for somebody else's.
        message = sns.message_of(endpoint.trust, call)
        certificate = await self._sns.certificate(message.certificate_url)
        verify(SNS, endpoint.trust._replace(certificate_of=lambda _: certificate), call, now)
        return message

    async def _subscribe(self, endpoint: Endpoint, message: sns.Message) -> _End:
        """Confirm a subscription; of one that has ended, people are told."""
        topic = message.fields["TopicArn"]
        if message.subscribe_url is None:
            log.warning("sns_unsubscribed", route=endpoint.route.path, topic=topic)
        else:
            await self._sns.confirm(message.subscribe_url)
            log.info("sns_subscribed", route=endpoint.route.path, topic=topic)
        return _End("taken", endpoint.dialect.taken)

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

    def _rate_of(self, endpoint: Endpoint) -> Rate:
        path = endpoint.route.path
        if path not in self._rates:
            self._rates[path] = Rate(endpoint.route.rate)
        return self._rates[path]

    # Records

    def _records(self, endpoint: Endpoint, call: Call, now: float) -> list[Outgoing]:
        for encoding in reversed(call.headers.get("content-encoding", ())):
            call = call._replace(body=expand(call.body, encoding, _MAX_EXPANDED))
        made = records_of(endpoint.dialect, call, endpoint.trust.secrets, self._limits.record)
        received = from_seconds(now)
        headers = [*endpoint.headers, ("received", to_rfc3339(received).encode())]
        headers += _header("content-type", call.headers)
        trace = trace_of(endpoint.dialect, call)
        if trace is not None:
            headers.append(("trace", octets_of(trace)[:_MAX_HEADER]))
        return [_outgoing(endpoint, record, headers, to_millis(received)) for record in made]


def _refused(endpoint: Endpoint, call: Call, refused: Refused, client: Client) -> _End:
    route = endpoint.route
    answer = refusal_of(endpoint.dialect, call, route.verify, again=refused.again or route.refused == "again")
    if answer is CHALLENGE:
        return _End("asked", answer)
    log.warning("webhook_refused", route=route.path, reason=str(refused), client=client())
    return _End("refused", answer, str(refused))


def _header(name: str, headers: Mapping[str, tuple[str, ...]]) -> list[tuple[str, bytes]]:
    return [(name, octets_of(value)[:_MAX_HEADER]) for value in headers.get(name, ())[:1]]


def _outgoing(endpoint: Endpoint, record: Record, headers: list[tuple[str, bytes]], timestamp: Millis) -> Outgoing:
    told = [*headers, ("query", octets_of(record.query))] if record.query else headers
    key = key_of(endpoint.route.provider, record.value)
    return Outgoing(endpoint.topic, record.value, key, tuple(told), timestamp)
