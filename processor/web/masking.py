"""What those who may not see recipients are shown instead."""

from __future__ import annotations

import re

from processor.providers import ADAPTERS

_ADDRESS = re.compile(r"([^\s<>\"'(),:;=@|]+)@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
_NUMBER = re.compile(r"(?<![\w.+])\+?[0-9][0-9 ()-]{5,18}[0-9](?!\w|\.\w)")
_BULLET = "\N{BULLET}"


def mask_recipient(recipient: str) -> str:
    """Give a recipient so that one who knows it may recognise it: `u***@example.com`, `+467•••••12`."""
    local, at, domain = recipient.rpartition("@")
    if at:
        return f"{local[:1] if len(local) > 1 else ''}***@{domain}"
    if re.fullmatch(r"\+?[0-9 ()-]+", recipient):
        return _mask_number(recipient)
    return f"{recipient[:1]}***" if len(recipient) > 1 else "***"


def _mask_number(number: str) -> str:
    plus = "+" if number.lstrip().startswith("+") else ""
    digits = re.sub(r"[^0-9]", "", number)
    if len(digits) < 8:
        return plus + _BULLET * len(digits)
    return plus + digits[:3] + _BULLET * (len(digits) - 5) + digits[-2:]


def mask_text(text: str, recipient: str | None = None) -> str:
    """Mask what a text of a provider's says of a recipient: any address in it, and the number that the message went to.

    Args:
        text: a reason's text.
        recipient: the message's own; a number is only known as one when it is this.
    """
    masked = _ADDRESS.sub(lambda found: mask_recipient(found[0]), text) if "@" in text else text
    if not recipient:
        return masked
    if "@" in recipient:
        return re.sub(re.escape(recipient), lambda _: mask_recipient(recipient), masked, flags=re.IGNORECASE)
    digits = re.sub(r"[^0-9]", "", recipient)
    if len(digits) < 6:
        return masked.replace(recipient, mask_recipient(recipient))

    def of_number(found: re.Match[str]) -> str:
        other = re.sub(r"[^0-9]", "", found[0])
        # With or without a country's prefix.
        same = other.endswith(digits[-8:]) or digits.endswith(other)
        return _mask_number(found[0]) if same else found[0]

    return _NUMBER.sub(of_number, masked)


def mask_id(message_id: str) -> str:
    """Mask the recipient in a message's id: where a provider's report had no id of ours, it may be made of one."""
    head, colon, last = message_id.rpartition(":")
    if head.partition(":")[0] in ADAPTERS and colon and re.fullmatch(r"\+?[0-9]{7,15}", last):
        return f"{head}:{_mask_number(last)}" if ":" in head else message_id
    return mask_text(message_id)
