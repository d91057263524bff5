"""The reason of a message's status.

Categories and their codes: Adobe Campaign, "Delivery failures" (campaign.en, help/v8/send/delivery-failures.md,
"Technical value"). `personalization` is our own: Adobe's page of statuses names the case, its list has no code for it.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, NamedTuple

import msgspec

from processor.domain.status import Permanence


class Category(str, Enum):
    """The kind of a reason."""

    UNDEFINED = "undefined"
    USER_UNKNOWN = "user_unknown"
    INVALID_DOMAIN = "invalid_domain"
    UNREACHABLE = "unreachable"
    ACCOUNT_DISABLED = "account_disabled"
    MAILBOX_FULL = "mailbox_full"
    NOT_CONNECTED = "not_connected"
    ADDRESS_NOT_SPECIFIED = "address_not_specified"
    DENYLISTED = "denylisted"
    QUARANTINED = "quarantined"
    DUPLICATE = "duplicate"
    EXCLUDED_BY_RULE = "excluded_by_rule"
    EXCLUDED_BY_ARBITRATION = "excluded_by_arbitration"
    BAD_QUALITY_ADDRESS = "bad_quality_address"
    UNQUALIFIED_ADDRESS = "unqualified_address"
    NOT_ELIGIBLE = "not_eligible"
    TARGET_LIMITED = "target_limited"
    REFUSED = "refused"
    ERROR_IGNORED = "error_ignored"
    CONTROL_ADDRESS = "control_address"
    PERSONALIZATION = "personalization"


class Bounce(Enum):
    """How Adobe counts a failure: hard, soft, or neither."""

    HARD = "hard"
    SOFT = "soft"


class Classification(NamedTuple):
    """What Adobe makes of a category: its technical value, where it has one, and the bounce that it counts as."""

    code: int | None
    bounce: Bounce | None = None


#: Every category a row.
CLASSIFICATIONS: dict[Category, Classification] = {
    Category.UNDEFINED: Classification(0),
    Category.USER_UNKNOWN: Classification(1, Bounce.HARD),
    Category.INVALID_DOMAIN: Classification(2, Bounce.SOFT),
    Category.UNREACHABLE: Classification(3, Bounce.SOFT),
    Category.ACCOUNT_DISABLED: Classification(4, Bounce.SOFT),
    Category.MAILBOX_FULL: Classification(5, Bounce.SOFT),
    Category.NOT_CONNECTED: Classification(6, Bounce.SOFT),
    Category.ADDRESS_NOT_SPECIFIED: Classification(7),
    Category.DENYLISTED: Classification(8),
    Category.QUARANTINED: Classification(9),
    Category.DUPLICATE: Classification(10),
    Category.EXCLUDED_BY_RULE: Classification(11),
    Category.EXCLUDED_BY_ARBITRATION: Classification(12),
    Category.BAD_QUALITY_ADDRESS: Classification(14),
    Category.UNQUALIFIED_ADDRESS: Classification(15),
    Category.NOT_ELIGIBLE: Classification(16),
    Category.TARGET_LIMITED: Classification(17),
    Category.REFUSED: Classification(20, Bounce.SOFT),
    Category.ERROR_IGNORED: Classification(25),
    Category.CONTROL_ADDRESS: Classification(127),
    Category.PERSONALIZATION: Classification(None),
}

#: The same, by column: Adobe's technical values, and the categories of failures that are hard and soft bounces.
ADOBE_CODES: dict[Category, int] = {
    category: code for category, (code, _) in CLASSIFICATIONS.items() if code is not None
}
HARD = frozenset(category for category, (_, bounce) in CLASSIFICATIONS.items() if bounce is Bounce.HARD)
SOFT = frozenset(category for category, (_, bounce) in CLASSIFICATIONS.items() if bounce is Bounce.SOFT)


#: Characters of a reason's text that a row keeps: rows must fit into one Kafka record and into memory.
TEXT_MAX = 1_000

#: In the place of a recipient or a text that was erased (erasure.py). It is stored, and never shown.
ERASED = "(erased)"


class Reason(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A provider's reason in normal form; every field may be absent."""

    permanence: Permanence | None = None
    category: Category | None = None
    #: The enhanced status code of RFC 3463 ("5.1.1") or the SMPP state; else the provider's closest equivalent.
    code: Annotated[str, msgspec.Meta(max_length=1_000)] | None = None
    #: The provider's own code ("550", "30003").
    provider_code: Annotated[str, msgspec.Meta(max_length=1_000)] | None = None
    #: The provider's own words. A row keeps the first TEXT_MAX characters.
    text: str | None = None

    def shown(self) -> Reason:
        """Return what may be shown of this reason: without the marks of what was erased."""
        if ERASED not in {self.code, self.provider_code, self.text}:
            return self
        code, provider_code, text = (
            None if each == ERASED else each for each in (self.code, self.provider_code, self.text)
        )
        return msgspec.structs.replace(self, code=code, provider_code=provider_code, text=text)

    def telling(self) -> tuple[bool, bool, bool]:
        """Return how specific this reason is, a category before a code before a text; greater is more specific."""
        has_kind = self.category is not None and self.category is not Category.UNDEFINED
        return has_kind, bool(self.code or self.provider_code), bool(self.text)

    def order(self) -> tuple[tuple[bool, str], ...]:
        """Return a key of a total order, so that a tie of time has one winner."""
        fields = (self.permanence, self.category, self.code, self.provider_code, self.text)
        return tuple([(field is not None, field or "") for field in fields])
