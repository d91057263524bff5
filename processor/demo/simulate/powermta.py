"""PowerMTA as it accounts: one row of CSV under its header, or the same as JSON, as a webhook bridge writes it."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from random import Random

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mailboxes import HOSTS, REPLIES, Reply, address, domain_of, reply_to

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_RECEIVED = Step("r", (0.0, 0.5))
_DELIVERED = Step("d", (1.0, 15.0), "accepted")
_BUSY = Step("t", (1.0, 10.0), "busy")
_FULL = Step("t", (1.0, 10.0), "mailbox_full")
_LATER = (10 * _MINUTE, 11 * _MINUTE)

LIVES: tuple[Life, ...] = (
    Life(93.7, (_RECEIVED, _DELIVERED)),
    Life(2.0, (_RECEIVED, _BUSY, _DELIVERED._replace(after=_LATER))),
    Life(0.6, (_RECEIVED, _FULL, _FULL._replace(after=_LATER), _DELIVERED._replace(after=_LATER))),
    Life(1.6, (_RECEIVED, Step("b", (1.0, 8.0), "user_unknown"))),
    Life(0.2, (_RECEIVED, Step("b", (1.0, 8.0), "disabled"))),
    Life(0.5, (_RECEIVED, Step("b", (2.0, 20.0), "refused"))),
    Life(0.5, (_RECEIVED, _FULL, _FULL._replace(after=_LATER), Step("b", (2 * _HOUR, 3 * _HOUR), "expired"))),
    Life(0.3, (_RECEIVED, _DELIVERED, Step("rb", (_MINUTE, _HOUR), "user_unknown"))),
    Life(0.3, (_RECEIVED, _DELIVERED, Step("rs", (_MINUTE, _HOUR), "delivered"))),
    Life(0.3, (_RECEIVED, _DELIVERED, Step("f", (10 * _MINUTE, 5 * _HOUR)))),
)

#: bounceCat by cause.
CATEGORIES: dict[str, str] = {
    "user_unknown": "bad-mailbox",
    "disabled": "inactive-mailbox",
    "refused": "policy-related",
    "expired": "message-expired",
}

_EXPIRED = Reply(451, "4.4.7", "message expired")


#: dsnAction by type.
_ACTIONS: dict[str, str] = {"d": "relayed", "t": "delayed", "b": "failed", "rb": "failed", "rs": "delivered"}

#: The order is PowerMTA's own; operators choose columns, and add headers at the end.
_COLUMNS = (
    "type",
    "timeLogged",
    "timeQueued",
    "orig",
    "rcpt",
    "dsnAction",
    "dsnStatus",
    "dsnDiag",
    "dsnMta",
    "bounceCat",
    "dlvSourceIp",
    "dlvDestinationIp",
    "dlvSize",
    "vmta",
    "jobId",
    "envId",
    "queue",
    "vmtaPool",
    "header_message_id",
    "header_delivery_id",
)


def identify(_rng: Random, created: datetime, number: int) -> str:
    """Make an envelope id, as the injecting application chooses it."""
    return f"env-{created:%Y%m%d%H%M%S}-{number:08d}"


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one record, as CSV or as JSON where the campaign's server has a bridge."""
    recipient = report.recipients[0]
    host = HOSTS[domain_of(recipient)]
    reply = _reply(rng, report)
    record = dict.fromkeys(_COLUMNS, "") | {
        "type": report.native,
        "timeLogged": _second(report.time),
        "timeQueued": _second(message.created),
        "orig": f"bounce+{message.campaign.id}@mail.example.com",
        "rcpt": recipient,
        "dsnAction": _ACTIONS.get(report.native, ""),
        "dsnStatus": (reply.enhanced or f"{str(reply.code)[0]}.0.0 (undefined status)") if reply else "",
        "dsnDiag": f"smtp;{reply}" if reply else "",
        "dsnMta": f"{host.name.rstrip('.')} ({host.address})" if reply else "",
        "bounceCat": CATEGORIES.get(report.cause, "") if report.native in {"b", "rb"} else "",
        "dlvSourceIp": "192.0.2.10",
        "dlvDestinationIp": host.address,
        "dlvSize": str(18_000 + message.number % 4_000),
        "vmta": "vmta-2",
        "jobId": message.campaign.id,
        "envId": message.provider_message_id,
        "queue": f"{domain_of(recipient)}/vmta-2",
        "vmtaPool": "pool-a",
    }
    record |= {f"header_{name}": value for name, value in message.tags.items()}
    if message.campaign.variant:
        return orjson.dumps([record])
    sheet = io.StringIO(newline="")
    csv.writer(sheet).writerows((_COLUMNS, record.values()))
    return sheet.getvalue().encode()


def _reply(rng: Random, report: Report) -> Reply | None:
    if report.cause == "expired":
        return _EXPIRED
    cause = "accepted" if report.cause == "delivered" else report.cause
    return reply_to(cause, report.recipients[0], f"{rng.getrandbits(40):010x}") if cause in REPLIES else None


def _second(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S%z}"


POWERMTA = Provider(
    name="powermta",
    topic="mta",
    campaigns=1,
    lives=LIVES,
    engagement={"d": (Step("f", (10 * _MINUTE, 5 * _HOUR)),)},
    contradictions={
        # A bounce that a rule of the operator called too early. Minutes, for the times are whole seconds.
        ("b", "user_unknown"): Step("d", (2 * _MINUTE, 9 * _MINUTE), "accepted"),
        ("b", "refused"): Step("d", (2 * _MINUTE, 9 * _MINUTE), "accepted"),
        ("b", "disabled"): Step("d", (2 * _MINUTE, 9 * _MINUTE), "accepted"),
    },
    unknown="zz",
    carries_ids=True,
    tells_time=True,
    keyed=True,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=address,
    write=write,
)
