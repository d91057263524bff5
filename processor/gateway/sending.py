"""Send a signed call to a gateway, as its provider would, and say what the answer means to that provider."""

from __future__ import annotations

import http.client
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

from processor.gateway.dialects import CHALLENGE, Answer, Dialect
from processor.gateway.verifiers import Call

#: Seconds: longer than a gateway waits for Kafka before it takes a call into its spool.
_PATIENCE = 30.0
#: Octets of an answer that are read.
_MAX_BODY = 65_536


class UnreachableError(Exception):
    """Nobody answered; the text says why, and what to do about it."""


class Reply(NamedTuple):
    """What was answered."""

    status: int
    reason: str
    body: bytes


def send(call: Call, to: str) -> Reply:
    """Send a call, and return the answer; a redirect is not followed, as providers do not.

    Args:
        call: signed.
        to: the address to connect to, which need not be the one that was signed.

    Raises:
        UnreachableError: no answer.
    """
    parts = urlsplit(to)
    target = to[to.index(parts.netloc) + len(parts.netloc) :].partition("#")[0] or "/"
    connection = _connection(parts.scheme, parts.hostname or "", parts.port)
    try:
        connection.putrequest(call.method, target, skip_accept_encoding=True)
        for name, values in call.headers.items():
            for value in values:
                connection.putheader(name, value.encode())
        if call.body or call.method == "POST":
            connection.putheader("content-length", str(len(call.body)))
        connection.endheaders(call.body or None)
        answer = connection.getresponse()
        return Reply(answer.status, answer.reason, answer.read(_MAX_BODY))
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(_mend(error, parts.scheme, parts.netloc)) from None
    finally:
        connection.close()


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=_PATIENCE, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=_PATIENCE)


def _mend(error: Exception, scheme: str, place: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {place} is not trusted: {error.verify_message}. Providers refuse it, too: it is to be"
            " from a public authority, with its chain. Trust one of your own by SSL_CERT_FILE"
        )
    if isinstance(error, ssl.SSLError):
        return f"{place} does not speak TLS: {error.reason}. For plain HTTP, --to http://{place}"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {place}: start the gateway, or name where it listens by --to"
    if isinstance(error, TimeoutError):
        return f"{place} did not answer within {_PATIENCE:g} s: a firewall, or a gateway that hangs"
    if isinstance(error, http.client.HTTPException):
        return f"{place} answered what is no {scheme.upper()}: {type(error).__name__}"
    return f"{place} cannot be reached: {error.strerror if isinstance(error, OSError) else error}"


def meaning(provider: str, dialect: Dialect, reply: Reply) -> tuple[str, str]:
    """Return what an answer makes a provider do, in a word, and a sentence that says the mend.

    The word is one of "taken", "again", "refused" and "other".
    """
    if _is(dialect.taken, reply) and dialect.taken.body in (b"", reply.body):
        return "taken", f"{provider} forgets the call, and the gateway has it"
    if _is(dialect.again, reply):
        return "again", (
            f"{provider} calls again, as far as its retries go: neither Kafka nor the spool has taken it, or more calls"
            " come than the gateway takes"
        )
    if _is(dialect.never, reply) or _is(CHALLENGE, reply):
        return "refused", (
            "the gateway does not verify it: its log and metrics say why. Usually it has another secret, or another"
            " public_url, than this file"
        )
    return "other", _OTHER.get(reply.status) or (
        "a redirect, which providers do not follow: enter the address that it leads to"
        if 300 <= reply.status < 400
        else "no answer of the gateway's to this provider: what answered is between, or something else"
    )


def _is(answer: Answer, reply: Reply) -> bool:
    return answer.status == reply.status


#: What other answers say.
_OTHER = {
    400: "the gateway cannot read it: it is not what this provider sends",
    404: "no such route: the gateway that answered has another file, or a proxy changes the path",
    405: "the gateway does not take this method from this provider",
    408: "its body did not arrive in time: the network, or a proxy that holds it back",
    413: "it is larger than the route takes",
    502: "a proxy cannot reach the gateway",
    504: "a proxy has not heard from the gateway in time",
}
