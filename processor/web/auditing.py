"""The audit of page and API: each write, and each answer that shows whole recipients, is an entry of the audit topic.

The entry of a write is written once the answer is known, and before it is given; that of a sight soon after the answer
has begun, however it ends. A write of which nobody knows whether it was done has an entry that says so. An entry that
Kafka does not take is in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timezone

from aiohttp import hdrs, web

from processor.domain.delivery import Action
from processor.engine.bounds import end
from processor.engine.clients import KafkaError
from processor.logs import get_logger
from processor.web.access import Access
from processor.web.masking import mask_id
from processor.web.problems import ProblemError
from processor.wire.audit import SUBJECT_MAX, AuditEntry, Deed, Via

log = get_logger(__name__)

#: What a handler may say of a request: what it did, where its address does not tell; what was acted on, and how.
DEED = web.RequestKey("audit_deed", Deed)
SUBJECT, DETAIL = web.RequestKey("audit_subject", str), web.RequestKey("audit_detail", str)

#: What is done at each address of the API, by its pattern's beginning and end. What is done to a delivery, and all that
#: pages do, is told when it is done: what a page refuses, it answers by leading to another one.
_WRITES: dict[tuple[str, str], Deed] = {
    ("/api/v1/deliveries/", "/control"): Deed.CONTROL,
    ("/api/v1/erasures", ""): Deed.ERASE,
    ("/api/v1/dead-letters/", "/replay"): Deed.REPLAY,
    ("/api/v1/dead-letters/", "/discard"): Deed.DISCARD,
}

#: Where recipients, or ids and texts that may hold them, are shown.
_SIGHTS = frozenset(
    {
        "/api/v1/messages",
        "/api/v1/messages/{message_id}",
        "/api/v1/find",
        "/api/v1/overview",
        "/api/v1/stuck",
        "/api/v1/contradictions",
        "/api/v1/dead-letters",
        "/api/v1/dead-letters/kept",
        "/api/v1/dead-letters/kept/{letter_id}",
        "/dead-letters",
        "/dead-letters/{id}",
        "/messages",
        "/messages/{id}",
        "/find",
        "/deliveries/{id}/messages",
        "/no-delivery/messages",
    }
)

#: What an entry says of a write that failed: Kafka may have taken it all the same.
_UNSURE = "perhaps not done"

#: Entries that wait to be written, and seconds that Kafka may take.
_WAITING_MAX = 1_000
_WRITE_SECONDS = 10.0

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Auditing:
    """Audits the requests of one worker.

    Args:
        access: tells who asks.
        write: writes entries to Kafka.
    """

    def __init__(self, access: Access, write: Callable[[Sequence[AuditEntry]], Awaitable[None]]) -> None:
        self._access, self._write = access, write
        self._waiting: asyncio.Queue[AuditEntry] = asyncio.Queue(_WAITING_MAX)

    def add_to(self, application: web.Application) -> None:
        """Audit what the application answers."""

        @web.middleware
        async def audit(request: web.Request, handler: _Handler) -> web.StreamResponse:
            status = 500
            try:
                response = await handler(request)
                status = response.status
            except ProblemError as error:
                status = error.kind.status
                raise
            except web.HTTPException as error:
                status = error.status
                raise
            finally:
                await self._see_write(request, status)
            return response

        application.middlewares.append(audit)
        application.on_response_prepare.append(self._see_sight)
        application.cleanup_ctx.append(self._run)

    async def _run(self, _application: web.Application) -> AsyncIterator[None]:
        running = asyncio.ensure_future(self._write_waiting())
        yield
        await end([running])
        left = [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]
        if left:
            await self._try(left)

    async def _see_write(self, request: web.Request, status: int) -> None:
        """Audit what was written, or may have been."""
        deed = deed_of(request)
        if deed is None or deed is Deed.UNMASK or 400 <= status < 500:
            return
        if status < 400:
            await self._try([self._entry(request, deed)])
        else:
            request[DETAIL] = ", ".join(filter(None, (request.get(DETAIL), _UNSURE)))
            self._put(self._entry(request, deed))

    async def _see_sight(self, request: web.Request, response: web.StreamResponse) -> None:
        """Audit what is about to be shown: of a stream, nobody knows whether it ends."""
        if response.status < 400 and deed_of(request) is Deed.UNMASK and self._access.caller(request).sees_recipients:
            self._put(self._entry(request, Deed.UNMASK))

    def _entry(self, request: web.Request, deed: Deed) -> AuditEntry:
        return AuditEntry(
            time=datetime.now(timezone.utc),
            who=self._access.caller(request).name,
            via=Via.API if request.path.startswith("/api/") else Via.PAGE,
            deed=deed,
            subject=_subject(request, deed),
            detail=request.get(DETAIL),
            address=self._access.address(request)[:SUBJECT_MAX],
        )

    def _put(self, entry: AuditEntry) -> None:
        if self._waiting.full():
            _tell_unwritten([entry], "too many wait")
        else:
            self._waiting.put_nowait(entry)

    async def _write_waiting(self) -> None:
        while True:
            entries = [await self._waiting.get()]
            entries += [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]
            await self._try(entries)

    async def _try(self, entries: Sequence[AuditEntry]) -> None:
        try:
            await asyncio.wait_for(self._write(entries), _WRITE_SECONDS)
        except (KafkaError, OSError, asyncio.TimeoutError) as error:
            _tell_unwritten(entries, type(error).__name__)


def tell_action(request: web.Request, action: Action) -> None:
    """Note for the audit which action on a delivery is done now, and may fail."""
    request[DEED] = Deed.CANCEL if action is Action.CANCEL else Deed.CONTROL
    if action is not Action.CANCEL:
        request[DETAIL] = action.value


def deed_of(request: web.Request) -> Deed | None:
    """Return what a request does, if it is to be audited."""
    done: Deed | None = request.get(DEED)
    if done is not None:
        return done
    pattern = _pattern(request)
    if request.method == hdrs.METH_POST:
        return next((deed for (start, stop), deed in _WRITES.items() if _is(pattern, start, stop)), None)
    return Deed.UNMASK if pattern in _SIGHTS else None


def _pattern(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical


def _is(pattern: str, start: str, stop: str) -> bool:
    return pattern.startswith(start) and pattern.endswith(stop)


def _subject(request: web.Request, deed: Deed) -> str | None:
    """Return what a request is about. An id of a message may be made of its recipient, so it is masked."""
    named = next(iter(request.match_info.values()), None)
    if deed is Deed.UNMASK and named is not None and "messages/{" in _pattern(request):
        return mask_id(named)[:SUBJECT_MAX]
    subject = request.get(SUBJECT) or named or request.query.get("delivery")
    return None if subject is None else str(subject)[:SUBJECT_MAX]


def _tell_unwritten(entries: Sequence[AuditEntry], error: str) -> None:
    for entry in entries:
        log.warning(
            "audit_unwritten",
            who=entry.who,
            address=entry.address,
            via=entry.via.value,
            deed=entry.deed.value,
            at=entry.time.isoformat(),
            error=error,
        )
