"""The ten statuses of a message, the two channels, and how final a failure is.

Source: Adobe Campaign, "Delivery statuses" (campaign.en, help/v8/send/delivery-statuses.md) and its Swedish
translation, whose labels are kept to the letter. The Swedish row for *Skickat* is mistranslated there: the
recipient did not *necessarily* receive the message.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Channel(str, Enum):
    """How a message travels."""

    EMAIL = "email"
    SMS = "sms"


class Status(str, Enum):
    """The status of one message to one recipient; the value is the name on the wire. See DEFINITIONS."""

    PENDING = "pending"
    PREPARED = "prepared"
    SENT_TO_PROVIDER = "sent_to_provider"
    TAKEN_INTO_ACCOUNT = "taken_into_account"
    SENT = "sent"
    RECEIVED_ON_MOBILE = "received_on_mobile"
    FAILED = "failed"
    IGNORED = "ignored"
    CANCELED = "canceled"
    NOT_APPLICABLE = "not_applicable"


class Permanence(str, Enum):
    """Whether a failure may still change."""

    #: The attempt failed and the provider is still trying. Never a status: it only explains one.
    TRANSIENT = "transient"
    #: A temporary condition outlived the retries. The message failed, yet late truth may correct it.
    GAVE_UP = "gave_up"
    #: The message failed, for good.
    PERMANENT = "permanent"


class Definition(NamedTuple):
    """The texts of a status for people."""

    english: str
    swedish: str
    meaning: str
    channels: frozenset[Channel]


_ALL = frozenset(Channel)
_SMS_ONLY = frozenset({Channel.SMS})

DEFINITIONS: dict[Status, Definition] = {
    Status.PENDING: Definition("Pending", "Väntande", "Ready, waits for the MTA (or for its date).", _ALL),
    Status.PREPARED: Definition(
        "Prepared",
        "Förberedd",
        "Intermediate, external connectors only; follows Pending; the connector decides what comes next.",
        _SMS_ONLY,
    ),
    Status.SENT_TO_PROVIDER: Definition(
        "Sent to the service provider",
        "Skickat till tjänstleverantören",
        "Handed to the SMS provider, not confirmed yet.",
        _SMS_ONLY,
    ),
    Status.TAKEN_INTO_ACCOUNT: Definition(
        "Taken into account by the service provider",
        "Tjänsteleverantören har tagit hänsyn till",
        "SMS: the provider has it. E-mail: relayed to the MTA.",
        _ALL,
    ),
    Status.SENT: Definition(
        "Sent",
        "Skickat",
        "E-mail: the recipient's server accepted it. SMS: pushed to the mobile network. Not final.",
        _ALL,
    ),
    Status.RECEIVED_ON_MOBILE: Definition(
        "Received on mobile", "Mottaget på mobilen", "The handset acknowledged it.", _SMS_ONLY
    ),
    Status.FAILED: Definition("Failed", "Misslyckades", "Could not reach the recipient; carries a reason.", _ALL),
    Status.IGNORED: Definition(
        "Ignored", "Ignorerad", "Never sent: denylisted, quarantined, no address, duplicate.", _ALL
    ),
    Status.CANCELED: Definition("Delivery canceled", "Leveransen har avbrutits", "An operator cancelled it.", _ALL),
    Status.NOT_APPLICABLE: Definition(
        "Not applicable", "Ej tillämpligt", "The MTA counted it and did not process it.", _ALL
    ),
}
