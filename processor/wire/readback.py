"""Read back records of our own topics, and refuse those that are damaged, out of range or of a newer version.

Anything with access to the topic can write anything, and a newer version writes what this one does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

Value = TypeVar("Value", bytes, str)
Decoded = TypeVar("Decoded")


class UnreadableError(msgspec.DecodeError):
    """A value was not written by this application, is out of range, or is of a newer version."""


def read_back(decode: Callable[[Value], Decoded], value: Value) -> Decoded:
    """Decode a value.

    Raises:
        UnreadableError: the decoder cannot read it.
    """
    try:
        return decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(str(error) or type(error).__name__) from None


def refuse_newer(memory: list[object], layout: int) -> None:
    """Refuse state in a newer layout.

    Args:
        memory: its items; the first one is the layout's version, if there is one.
        layout: the version that is written now.

    Raises:
        UnreadableError: it is newer.
    """
    version = memory[0] if memory else None
    if isinstance(version, int) and version > layout:
        raise UnreadableError(f"it has layout {version}, and this version reads up to {layout}: a newer one wrote it")
