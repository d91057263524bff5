"""The membership under which partitions were assigned, which brokers compare commits with (KIP-447, ADR 0025)."""

from __future__ import annotations

from typing import NamedTuple

from aiokafka.errors import IllegalGenerationError, UnknownMemberIdError

__all__ = ["MEMBERSHIP_OVER", "NO_MEMBER", "Pin", "PinnedGroup"]

#: The refusals of a commit after which its partitions are another member's, or will be.
MEMBERSHIP_OVER = (IllegalGenerationError, UnknownMemberIdError)


class Pin(NamedTuple):
    """A member and its generation at one moment: that of an assignment.

    The consumer changes them one after the other, so what is read later may pair a new member with an old generation.
    """

    generation: int
    member_id: str

    @property
    def is_of_a_member(self) -> bool:
        """Whether brokers judge it. They accept the commits of whoever has no membership."""
        return self.generation >= 0 and bool(self.member_id)

    def follows(self, earlier: Pin) -> bool:
        """Return whether this is the same member in the very next generation: nobody had its partitions between."""
        return self.is_of_a_member and self == (earlier.generation + 1, earlier.member_id)


#: What a consumer has that is in no group, or was thrown out of it.
NO_MEMBER = Pin(-1, "")


class PinnedGroup(str):
    """A group's id with the membership to commit as; aiokafka passes it through to our handler.

    Raises:
        ValueError: the pin is of no member.
    """

    __slots__ = ("pin",)

    pin: Pin

    def __new__(cls, group_id: str, pin: Pin) -> PinnedGroup:  # noqa: PYI034 - Self is not in Python 3.10
        """Pair an id with a pin."""
        if not pin.is_of_a_member:
            raise ValueError(f"brokers accept the offsets of whoever has no membership: {pin}")
        group = super().__new__(cls, group_id)
        group.pin = pin
        return group
