"""Views as callers see them who may not see recipients: every id and text that may quote one is masked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from processor.views.dead_letters import LetterHeader, LetterItem, LetterView
from processor.views.message_list import MessageItem
from processor.views.messages import MessageReason, MessageView
from processor.views.overview import (
    ContradictionList,
    ContradictoryMessages,
    DeadLetterList,
    FoundMessage,
    Overview,
    StuckList,
    StuckMessages,
    WaitingMessages,
)
from processor.watch.tallies import UnreadableRow
from processor.web.masking import mask_id, mask_native_id, mask_recipient, mask_text

#: Gives what a link names a message by: its id, sealed where it is masked.
Reference = Callable[[str], str]

_Message = TypeVar("_Message", MessageView, MessageItem)
_Letter = TypeVar("_Letter", bound=LetterItem)
_Group = TypeVar("_Group", StuckMessages, ContradictoryMessages)


def mask_message(view: _Message) -> _Message:
    """Mask one message: its recipient wherever ids, codes and texts may quote it."""
    recipient, native = view.recipient, view.provider_message_id
    return msgspec.structs.replace(
        view,
        message_id=mask_id(view.message_id, recipient),
        recipient=None if recipient is None else mask_recipient(recipient),
        provider_message_id=None if native is None else mask_native_id(native, recipient),
        reason=None if view.reason is None else _mask_reason(view.reason, recipient),
    )


def _mask_reason(reason: MessageReason, recipient: str | None) -> MessageReason:
    texts = {name: getattr(reason, name) for name in ("code", "provider_code", "text")}
    masked = {name: mask_text(text, recipient) for name, text in texts.items() if text is not None}
    return msgspec.structs.replace(reason, **masked)


def mask_overview(overview: Overview, reference: Reference) -> Overview:
    """Mask the messages and rows that the overview names."""
    wrong = overview.wrong
    masked = msgspec.structs.replace(
        wrong,
        stuck=tuple([_mask_sample(at, reference) for at in wrong.stuck]),
        contradictions=tuple([_mask_sample(at, reference) for at in wrong.contradictions]),
        unreadable=tuple([_mask_unreadable(at) for at in wrong.unreadable]),
    )
    return msgspec.structs.replace(overview, wrong=masked)


def mask_stuck(found: StuckList, reference: Reference) -> StuckList:
    """Mask the messages that the list of stuck messages names."""
    items = tuple([_mask_sample(at, reference) for at in found.items])
    return StuckList(items, tuple([_mask_waiting(at, reference) for at in found.waiting]), found.incomplete)


def mask_contradictions(found: ContradictionList, reference: Reference) -> ContradictionList:
    """Mask the messages that the list of contradictions names."""
    return ContradictionList(tuple([_mask_sample(at, reference) for at in found.items]), found.incomplete)


def mask_dead_letters(found: DeadLetterList) -> DeadLetterList:
    """Mask the details, which may quote what was sent."""
    return DeadLetterList(tuple([msgspec.structs.replace(at, detail=mask_text(at.detail)) for at in found.items]))


def _mask_sample(at: _Group, reference: Reference) -> _Group:
    return msgspec.structs.replace(at, sample=tuple([_mask_found(found, reference) for found in at.sample]))


def _mask_waiting(at: WaitingMessages, reference: Reference) -> WaitingMessages:
    return at if at.oldest is None else msgspec.structs.replace(at, oldest=_mask_found(at.oldest, reference))


def _mask_found(found: FoundMessage, reference: Reference) -> FoundMessage:
    # Where a provider's report had no id, it is made of the recipient.
    whole = found.message_id
    return msgspec.structs.replace(found, message_id=mask_id(whole), reference=reference(whole))


def _mask_unreadable(at: UnreadableRow) -> UnreadableRow:
    return msgspec.structs.replace(at, key=mask_id(at.key), problem=mask_text(at.problem))


def mask_letter_item(item: _Letter) -> _Letter:
    """Mask what a dead letter's detail, key and provider may quote."""
    return msgspec.structs.replace(
        item,
        detail=mask_text(item.detail),
        key=None if item.key is None else mask_text(item.key),
        provider=None if item.provider is None else mask_text(item.provider),
    )


def mask_letter(view: LetterView) -> LetterView:
    """Mask a dead letter with its bytes; bytes that are not text are left out, since nobody knows what they hold."""
    return msgspec.structs.replace(
        mask_letter_item(view),
        headers=tuple([LetterHeader(mask_text(each.name), mask_text(each.value)) for each in view.headers]),
        text=None if view.text is None else mask_text(view.text),
        base64=None,
        is_withheld=view.base64 is not None,
        stacktrace=mask_text(view.stacktrace),
    )
