"""KumoMTA as it logs: one JSON object a record (its reference, "Log Record")."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import NamedTuple
from uuid import UUID

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mailboxes import HOSTS, REPLIES, Reply, address, domain_of, reply_to
from processor.domain.moment import to_microseconds

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_RECEPTION = Step("Reception", (0.0, 0.5))
_DELIVERY = Step("Delivery", (1.0, 15.0), "accepted")
_BUSY = Step("TransientFailure", (1.0, 10.0), "busy")
_FULL = Step("TransientFailure", (1.0, 10.0), "mailbox_full")


def _retry(step: Step, minutes: float) -> Step:
    """Take a step again at a later attempt: KumoMTA doubles its interval of 20 minutes."""
    return step._replace(after=(minutes * _MINUTE, minutes * _MINUTE * 1.1))


LIVES: tuple[Life, ...] = (
    Life(92.6, (_RECEPTION, _DELIVERY)),
    Life(2.0, (_RECEPTION, _BUSY, _retry(_DELIVERY, 20))),
    Life(0.7, (_RECEPTION, _BUSY, _retry(_BUSY, 20), _retry(_DELIVERY, 40))),
    Life(0.4, (_RECEPTION, Step("Delayed", (5.0, 30.0), "throttled"), _retry(_DELIVERY, 3))),
    Life(0.6, (_RECEPTION, _FULL, _retry(_FULL, 20), _retry(_DELIVERY, 40))),
    Life(1.4, (_RECEPTION, Step("Bounce", (1.0, 8.0), "user_unknown"))),
    Life(0.2, (_RECEPTION, Step("Bounce", (1.0, 8.0), "disabled"))),
    Life(0.4, (_RECEPTION, Step("Bounce", (2.0, 20.0), "refused"))),
    Life(
        0.5,
        (
            _RECEPTION,
            _FULL,
            _retry(_FULL, 20),
            _retry(_FULL, 40),
            _retry(_FULL, 80),
            _retry(_FULL, 160),
            Step("Expiration", (2 * _HOUR, 3 * _HOUR), "expired"),
        ),
    ),
    Life(0.3, (_RECEPTION, _DELIVERY, Step("OOB", (_MINUTE, _HOUR), "user_unknown"))),
    Life(0.2, (_RECEPTION, _BUSY, Step("AdminBounce", (_MINUTE, 15 * _MINUTE), "stopped"))),
    Life(0.3, (_RECEPTION, _DELIVERY, Step("Feedback", (10 * _MINUTE, 5 * _HOUR)))),
)

#: What KumoMTA itself says, where no peer answered.
OWN_REPLIES: dict[str, Reply] = {
    "": Reply(250, "", "", ""),
    "throttled": Reply(451, "4.4.5", "KumoMTA internal: delayed by max_message_rate throttle", ""),
    "expired": Reply(551, "5.4.7", "Next delivery time would exceed the maximum age of the message", ""),
    "stopped": Reply(551, "5.7.1", "Administrator bounced with reason: campaign stopped by its owner", ""),
}

#: The built-in classifier's word for each cause.
CLASSES: dict[str, str] = {
    "busy": "PolicyRelated",
    "mailbox_full": "QuotaIssues",
    "user_unknown": "InvalidRecipient",
    "disabled": "InactiveMailbox",
    "refused": "SpamBlock",
    "expired": "MessageExpired",
}


class _Node(NamedTuple):
    """One server; an older release writes whole seconds only."""

    id: str
    writes_event_time: bool


_NODES = (
    _Node("557f3ad4-2c8c-11ee-976e-782d7e12e173", writes_event_time=True),
    _Node("d8e014c7-eaeb-4683-a56e-61324e91b1fc", writes_event_time=True),
    _Node("07b1f1a2-4c3e-11ee-8d0c-000c29c33806", writes_event_time=False),
)

#: UUID version 1 counts from 1582-10-15, in units of 100 ns.
_GREGORIAN_MICROSECONDS = 12_219_292_800_000_000


def identify(rng: Random, created: datetime, number: int) -> str:
    """Make a spool id: a UUID version 1 whose time is the reception's."""
    ticks = (to_microseconds(created) + _GREGORIAN_MICROSECONDS) * 10 + number % 10
    clock = rng.getrandbits(14)
    node = 0x0250EBF60000 | number & 0xFFFF
    fields = (ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF, clock >> 8, clock & 0xFF, node)
    return UUID(fields=fields, version=1).hex


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one log record."""
    campaign = message.campaign
    node = _NODES[message.number % len(_NODES)]
    recipient = report.recipients[0]
    domain = domain_of(recipient)
    host = HOSTS[domain]
    attempted = report.native in {"Delivery", "TransientFailure", "Bounce"}
    record: dict[str, object] = {
        "type": report.native,
        # An out-of-band bounce is a message of its own, with an id of its own: what ties it to the message that
        # bounced are our own ids, where the operator's policy restores them from the trace header.
        "id": message.provider_message_id if report.native != "OOB" else identify(rng, report.time, message.number),
        "sender": f"bounce+{campaign.id}@mail.example.com",
        # A list where the peers of one message are told together (since 2025.12.02).
        "recipient": recipient if len(report.recipients) == 1 else list(report.recipients),
        "queue": f"{campaign.id}:tenant@{domain}",
        "site": f"pool-a->{host.site}@smtp_client" if attempted else "",
        "size": 18_000 + message.number % 4_000,
        "response": _response(_reply(rng, report)),
        "peer_address": {"name": host.name, "addr": host.address} if attempted else None,
        "timestamp": int(report.time.timestamp()),
        "created": int(message.created.timestamp()),
        "num_attempts": max(0, report.position - 1),
        "bounce_classification": CLASSES.get(report.cause, "Uncategorized"),
        "egress_pool": "pool-a" if attempted else None,
        "egress_source": "source-2" if attempted else None,
        "source_address": {"address": "192.0.2.10:0"} if attempted else None,
        "feedback_report": _feedback_report(message, report) if report.native == "Feedback" else None,
        "meta": message.tags,
        "headers": {"Subject": campaign.label},
        "delivery_protocol": "ESMTP" if attempted else None,
        "reception_protocol": "HTTP",
        "nodeid": node.id,
        "session_id": str(UUID(int=rng.getrandbits(128), version=4)) if attempted else None,
    }
    if node.writes_event_time:
        record["event_time"] = _nanoseconds(report.time)
        record["created_time"] = _nanoseconds(message.created)
    return orjson.dumps(record)


def _reply(rng: Random, report: Report) -> Reply:
    if report.cause in REPLIES:
        return reply_to(report.cause, report.recipients[0], f"{rng.getrandbits(40):010x}")
    return OWN_REPLIES[report.cause]


def _response(reply: Reply) -> dict[str, object]:
    numbers = [int(part) for part in reply.enhanced.split(".")] if reply.enhanced else []
    return {
        "code": reply.code,
        "enhanced_code": dict(zip(("class", "subject", "detail"), numbers, strict=True)) if numbers else None,
        "content": reply.text,
        "command": reply.command or None,
    }


def _feedback_report(message: Message, report: Report) -> dict[str, object]:
    return {
        "feedback_type": "abuse",
        "user_agent": "Yahoo!-Mail-Feedback/2.0",
        "version": 1,
        "arrival_date": _nanoseconds(report.time),
        "original_mail_from": f"<bounce+{message.campaign.id}@mail.example.com>",
        "original_rcpto_to": [f"<{recipient}>" for recipient in report.recipients],
        "source_ip": "192.0.2.10",
        "reported_domain": ["mail.example.com"],
        "extensions": {},
        "supplemental_trace": {"recipient": report.recipients[0]},
    }


def _nanoseconds(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")[:26] + "000Z"


KUMOMTA = Provider(
    name="kumomta",
    topic="mta",
    campaigns=3,
    lives=LIVES,
    engagement={"Delivery": (Step("Feedback", (10 * _MINUTE, 5 * _HOUR)),)},
    contradictions={
        # A bounce that a rule of the operator called too early.
        ("Bounce", "user_unknown"): Step("Delivery", (5.0, 60.0), "accepted"),
        ("Bounce", "refused"): Step("Delivery", (5.0, 60.0), "accepted"),
        ("Bounce", "disabled"): Step("Delivery", (5.0, 60.0), "accepted"),
    },
    unknown="Quarantined",
    carries_ids=True,
    tells_time=True,
    keyed=True,
    batched=0.02,
    # A record of one recipient looks like that of a message that only ever had one, so nobody could tell them apart.
    parted=0.0,
    identify=identify,
    address=address,
    write=write,
)
