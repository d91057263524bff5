"""Take a form body or a query apart, as octets: signatures cover what was sent, not what it is read as."""

from __future__ import annotations

from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import unquote_to_bytes

from processor.gateway.verifiers.call import Refused, octets_of

#: A callback has some twenty fields and our own; a body with more is an attack on time.
_MAX_FIELDS = 1000


def fields_of(encoded: bytes) -> list[tuple[bytes, bytes]]:
    """Return names and values in their order, decoded, the empty ones too: whatever is there was signed or not."""
    if encoded.count(b"&") >= _MAX_FIELDS:
        raise Refused(f"more than {_MAX_FIELDS} fields")
    pairs = []
    for field in encoded.split(b"&"):
        name, _, value = field.partition(b"=")
        if b"%" in field or b"+" in field:
            name, value = _decoded(name), _decoded(value)
        if field:
            pairs.append((name, value))
    return pairs


def _decoded(octets: bytes) -> bytes:
    # Most need no decoding, which costs ten times as much as to see that.
    return unquote_to_bytes(octets.replace(b"+", b" ")) if b"%" in octets or b"+" in octets else octets


def parts_of(content_type: str, body: bytes) -> list[tuple[bytes, bytes]]:
    """Return names and values of a form of several parts (multipart/form-data), but for those that are files."""
    head = b"content-type: " + octets_of(content_type) + b"\r\n\r\n"
    message = BytesParser(EmailMessage, policy=HTTP).parsebytes(head + body)
    pairs = []
    for part in message.iter_parts() if message.is_multipart() else ():
        name, value = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(value, bytes) and part.get_filename() is None:
            pairs.append((name.encode(errors="replace"), value))
    return pairs


def query_of(url: str) -> bytes:
    """Return the query of an address, still encoded."""
    return octets_of(url.partition("#")[0].partition("?")[2])


def by_name(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """Collect values by name, both sorted, as signatures over parameters want them."""
    collected: dict[bytes, list[bytes]] = {}
    for name, value in sorted(pairs):
        collected.setdefault(name, []).append(value)
    return collected
