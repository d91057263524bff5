"""Reading back what our own topics hold: whole and in range, or refused with the reason.

Whoever may write to such a topic may write anything, and a newer version of ours writes what this one does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

Value = TypeVar("Value", bytes, str)
Decoded = TypeVar("Decoded")


class UnreadableError(msgspec.DecodeError):
    """A value is none of ours, is out of range, or was written by a newer version."""


def read_back(decode: Callable[[Value], Decoded], value: Value) -> Decoded:
    """Decode a value.

    Raises:
        UnreadableError: it is not what the decoder reads.
    """
    try:
        return decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(str(error) or type(error).__name__) from None


def refuse_newer(memory: list[object], layout: int) -> None:
    """Refuse what is remembered in a newer layout.

    Args:
        memory: its items; the first one is its layout's version, where it has one.
        layout: the version that is written now.

    Raises:
        UnreadableError: it is newer.
    """
    version = memory[0] if memory else None
    if isinstance(version, int) and version > layout:
        raise UnreadableError(f"it has layout {version}, and this version reads up to {layout}: a newer one wrote it")
