"""Take a form body or a query apart, as octets: signatures cover what was sent, not what it is read as."""

from __future__ import annotations

from email.message import Message
from email.parser import BytesHeaderParser
from urllib.parse import unquote_to_bytes

from processor.gateway.verifiers.call import Refused, octets_of

#: A callback has some twenty fields and our own; a body with more is an attack on time.
_MAX_FIELDS = 1000
#: Octets before the value of a part: its name, and what kind of text it is.
_MAX_PART_HEAD = 4096


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
    """Return names and values of a form of several parts (multipart/form-data), but for those that are files.

    The parts are cut apart here: a parser of mail takes a minute of CPU time for five MiB of strangers' parts.

    Source: RFC 7578, RFC 2046 section 5.1.1.
    """
    boundary = _head_of(b"content-type: " + octets_of(content_type)).get_boundary()
    if not boundary:
        return []
    delimiter = b"\r\n--" + octets_of(boundary)
    if body.count(delimiter) > _MAX_FIELDS:
        raise Refused(f"more than {_MAX_FIELDS} parts")
    pairs = []
    for part in (b"\r\n" + body).split(delimiter)[1:]:
        if part.startswith(b"--"):
            break
        head, _, value = part.lstrip(b" \t").partition(b"\r\n\r\n")
        if len(head) > _MAX_PART_HEAD:
            raise Refused(f"a part's head has more than {_MAX_PART_HEAD} octets")
        told = _head_of(head.removeprefix(b"\r\n"))
        name = told.get_param("name", header="content-disposition")
        if isinstance(name, str) and told.get_filename() is None:
            pairs.append((name.encode(errors="replace"), value))
    return pairs


def _head_of(octets: bytes) -> Message:
    return BytesHeaderParser().parsebytes(octets + b"\r\n\r\n")


def query_of(url: str) -> bytes:
    """Return the query of an address, still encoded."""
    return octets_of(url.partition("#")[0].partition("?")[2])


def by_name(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """Collect values by name, both sorted, as signatures over parameters want them."""
    collected: dict[bytes, list[bytes]] = {}
    for name, value in sorted(pairs):
        collected.setdefault(name, []).append(value)
    return collected
