"""Every error of the HTTP API, as data, and its response: application/problem+json (RFC 9457)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from aiohttp import web

from processor.logs import get_logger

log = get_logger(__name__)

CONTENT_TYPE = "application/problem+json"

#: Paths whose errors are problems; the page shows its own.
API_PATHS = ("/api/", "/internal/")


class Kind(NamedTuple):
    """One kind of problem: what a client may rely on, and the seconds after which to retry (None: never)."""

    name: str
    status: int
    title: str
    retry_after: int | None = None

    @property
    def uri(self) -> str:
        """The problem's `type`."""
        return f"urn:delivery-status:problem:{self.name}"


INVALID_REQUEST = Kind("invalid-request", 400, "A parameter or the body is invalid for this route")
UNAUTHORIZED = Kind("unauthorized", 401, "The token is missing or wrong")
FORBIDDEN = Kind("forbidden", 403, "The request is not allowed")
TOO_MANY_ATTEMPTS = Kind("too-many-attempts", 429, "Too many wrong tokens were presented", 6)
NO_ROUTE = Kind("no-route", 404, "The path does not exist")
MESSAGE_NOT_KNOWN = Kind("message-not-known", 404, "No event has named this message")
DELIVERY_NOT_KNOWN = Kind("delivery-not-known", 404, "Neither an event nor a control record has named this delivery")
LETTER_NOT_KNOWN = Kind("dead-letter-not-known", 404, "No dead letter is kept under this id")
NO_ADDRESS = Kind("no-address", 404, "The path names no address of the feed")
TAKEN_OVER = Kind("taken-over", 409, "Another replay or discard has begun meanwhile")
NO_EFFECT = Kind("no-effect", 409, "The action can have no effect on the delivery as it stands")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "The path does not support this method")
TOO_LARGE = Kind("too-large", 413, "The body is too large")
BAD_REQUEST = Kind("bad-request", 400, "The request cannot be understood")
INTERNAL_ERROR = Kind("internal-error", 500, "The worker failed; its log has the error")
MESSAGE_UNREADABLE = Kind("message-unreadable", 500, "The message exists, but this version cannot read its row")
HOP_REFUSED = Kind("hop-refused", 502, "The owning worker refused the internal request, or its answer cannot be used")
NOT_INDEXED = Kind("not-indexed", 501, "What is asked for is not indexed: see DELIVERY_INDEX")
NO_FEED = Kind("no-feed", 501, "There is no feed of addresses: see DELIVERY_ADDRESSES_KEY")
STARTING = Kind("starting", 503, "The worker is starting", 2)
REBALANCING = Kind("rebalancing", 503, "The group is rebalancing", 2)
RECOVERING = Kind("recovering", 503, "The partition of the message is recovering", 5)
OWNER_AWAY = Kind("owner-away", 503, "The owner of the partition does not answer", 5)
BROKER_AWAY = Kind("broker-away", 503, "Kafka does not answer", 5)
TOO_MANY_STREAMS = Kind("too-many-streams", 503, "The worker has reached its limit of streams", 10)
TOO_MANY_CONNECTIONS = Kind("too-many-connections", 503, "The worker has reached its limit of connections", 5)

KINDS: tuple[Kind, ...] = (
    INVALID_REQUEST,
    BAD_REQUEST,
    UNAUTHORIZED,
    FORBIDDEN,
    TOO_MANY_ATTEMPTS,
    NO_ROUTE,
    MESSAGE_NOT_KNOWN,
    DELIVERY_NOT_KNOWN,
    NO_ADDRESS,
    LETTER_NOT_KNOWN,
    TAKEN_OVER,
    NO_EFFECT,
    METHOD_NOT_ALLOWED,
    TOO_LARGE,
    INTERNAL_ERROR,
    MESSAGE_UNREADABLE,
    NOT_INDEXED,
    NO_FEED,
    HOP_REFUSED,
    STARTING,
    REBALANCING,
    RECOVERING,
    OWNER_AWAY,
    BROKER_AWAY,
    TOO_MANY_STREAMS,
    TOO_MANY_CONNECTIONS,
)


#: Nothing has named what is asked for.
NOT_KNOWN = (MESSAGE_NOT_KNOWN, DELIVERY_NOT_KNOWN, LETTER_NOT_KNOWN)


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong, for a machine (`type`, `status`, `allowed`) and for a person (`title`, `detail`)."""

    type: str
    title: str
    status: int
    detail: str
    #: The values that are accepted, where they can be listed.
    allowed: tuple[str, ...] = ()


class ProblemError(Exception):
    """A request that cannot be answered as asked. `headers` go with the answer."""

    def __init__(
        self, kind: Kind, detail: str, *, allowed: Sequence[str] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.problem = Problem(kind.uri, kind.title, kind.status, detail, tuple(allowed))
        self.headers = dict(headers or {})
        if kind.retry_after is not None:
            self.headers.setdefault("Retry-After", str(kind.retry_after))

    def response(self) -> web.Response:
        """Make the response."""
        return web.Response(
            body=msgspec.json.encode(self.problem) + b"\n",
            status=self.kind.status,
            content_type=CONTENT_TYPE,
            headers=self.headers,
        )


def invalid(detail: str, allowed: Sequence[str] = ()) -> ProblemError:
    """Make the problem of an invalid parameter or body; `allowed` are the values that are accepted."""
    return ProblemError(INVALID_REQUEST, detail, allowed=allowed)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def tell_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error of the API as a problem, including those of the framework and our own faults.

    Elsewhere the framework's own errors stay as they are.
    """
    try:
        return await handler(request)
    except ProblemError as error:
        return error.response()
    except web.HTTPException as error:
        if not request.path.startswith(API_PATHS):
            raise
        return _of_framework(error).response()
    except Exception:
        # No ids: the path may name a message, and some providers name messages after recipients.
        log.exception("request_failed", method=request.method, route=_route(request))
        return ProblemError(INTERNAL_ERROR, "the answer could not be made").response()


def _of_framework(error: web.HTTPException) -> ProblemError:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = sorted(error.allowed_methods)
        detail = f"{error.method} is not taken here; allowed: {', '.join(allowed)}"
        return ProblemError(METHOD_NOT_ALLOWED, detail, allowed=allowed, headers={"Allow": ", ".join(allowed)})
    kinds = {404: NO_ROUTE, 413: TOO_LARGE}
    kind = kinds.get(error.status, BAD_REQUEST if error.status < 500 else INTERNAL_ERROR)
    return ProblemError(kind, error.reason)


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"
