"""Commits of offsets as a proxy sees them: what they say, and answers to them."""

import struct
from io import BytesIO
from typing import Any

from processor.engine.protocol import TxnOffsetCommitRequest, TxnOffsetCommitResponseV3
from tests.engine.proxy import Request


def fields_of(request: Request) -> Any:
    """Read a commit of offsets: its header ends with the client's id, and no tags."""
    assert request.version == 3
    (length,) = struct.unpack_from(">h", request.frame, 8)
    return TxnOffsetCommitRequest._CLASSES[1].decode(BytesIO(request.frame[8 + 2 + length + 1 :]))


def answer_to(request: Request, code: int) -> bytes:
    """Give an answer with one code for each partition, behind the tags of its header."""
    topics = [
        (topic, [(number, code, {}) for number, *_ in partitions], {})
        for topic, partitions, _ in fields_of(request).topics
    ]
    return b"\0" + TxnOffsetCommitResponseV3(0, topics, {}).encode()
