"""Find the reasons that no rule maps to a category, and normalize their texts for people.

Adobe does the same with what it has to qualify: what varies becomes `#xxx#`, so that equal reasons become equal texts.
"""

from __future__ import annotations

import re

from processor.domain.event import Event
from processor.domain.reason import Category
from processor.domain.status import Permanence, Status

#: How much of a text is looked at; no provider of ours keeps more.
_FRONT = 1_000

# What varies, and codes, which do not: the first alternative that fits decides. All that repeats is bounded, so the
# time is linear in the length of the text.
_VARIES = re.compile(
    r"""
      (?P<url>     https?://[^\s<>"]{1,300} )
    | (?P<address> <?[\w.+=/-]{1,64}@[\w.-]{1,255}>? )
    | (?P<code>    (?<![\w.])[245]\d\d(?![\w.:]) | (?<![\w.])[245]\.\d{1,3}\.\d{1,3}(?!\w|\.\d)
                 | (?<![\w-])[A-Z]{1,6}[_-]?\d{1,4}(?:_\d{1,4})?(?![\w-]) | (?<![\w-])0x[0-9a-fA-F]{2,8}(?![\w-]) )
    | (?P<date>    \d{4}-\d\d-\d\d(?:[\sT]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)? )
    | (?P<time>    (?<![\w:])\d\d:\d\d(?::\d\d)?(?![\w:]) )
    | (?P<ip>      (?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]\w)
                 | (?<![\w:])[0-9a-fA-F]{1,4}(?::{1,2}[0-9a-fA-F]{1,4}){3,7} )
    | (?P<host>    (?<![\w.-])(?:[\w-]{1,63}\.){1,8}[a-zA-Z]{2,24}(?![\w-]) )
    | (?P<number>  (?<![\w-])[+-]?\d{1,40}(?:[.,]\d{1,20})?%?(?![\w-]) )
    | (?P<id>      (?<![\w-])(?=[\w-]{0,80}\d)[\w-]{1,200}(?:\.[\w-]{1,100}){0,4} )
    """,
    re.VERBOSE,
)


def is_unqualified(event: Event) -> bool:
    """Return whether an event is of a failure, or of one attempt's, whose kind of reason nobody knows."""
    reason = event.reason
    if reason is None:
        return event.status is Status.FAILED
    if event.status is not Status.FAILED and reason.permanence is not Permanence.TRANSIENT:
        return False
    return reason.category is None or reason.category is Category.UNDEFINED


def normalize_text(text: str) -> str:
    """Replace what varies in a text by placeholders (`#number#`, `#address#`, `#host#` ...); codes stay."""
    return " ".join(_VARIES.sub(_placeholder, text[:_FRONT]).split())


def _placeholder(match: re.Match[str]) -> str:
    return match[0] if match.lastgroup == "code" else f"#{match.lastgroup}#"
