"""Postfix as it logs: one line an attempt, with RFC 3339 times; what ends a queue id comes with the line before it."""

from __future__ import annotations

from datetime import datetime
from random import Random

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mailboxes import HOSTS, Reply, address, domain_of, reply_to
from processor.domain.moment import to_microseconds

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_SENT = Step("sent", (0.5, 10.0), "accepted")
_BUSY = Step("deferred", (0.5, 10.0), "busy")
_FULL = Step("deferred", (0.5, 10.0), "mailbox_full")


def _retry(step: Step, minutes: float) -> Step:
    """Take a step again at a later attempt: Postfix doubles its interval of 5 minutes."""
    return step._replace(after=(minutes * _MINUTE, minutes * _MINUTE * 1.1))


LIVES: tuple[Life, ...] = (
    Life(93.5, (_SENT,)),
    Life(2.2, (_BUSY, _retry(_SENT, 5))),
    Life(0.7, (_BUSY, _retry(_BUSY, 5), _retry(_SENT, 10))),
    Life(0.5, (_FULL, _retry(_FULL, 5), _retry(_SENT, 10))),
    Life(1.7, (Step("bounced", (0.5, 8.0), "user_unknown"),)),
    Life(0.2, (Step("bounced", (0.5, 8.0), "disabled"),)),
    Life(0.5, (Step("bounced", (0.5, 8.0), "refused"),)),
    Life(0.5, (_FULL, _retry(_FULL, 5), _retry(_FULL, 10), Step("expired", (2 * _HOUR, 3 * _HOUR), "mailbox_full"))),
    Life(0.2, (_BUSY, Step("postsuper", (_MINUTE, 5 * _MINUTE), "busy"))),
)

#: What the queue manager, or an operator's command, says of a message that ends without a delivery.
ENDS: dict[str, tuple[str, str]] = {
    "expired": ("qmgr", "from=<bounce@mail.example.com>, status=expired, returned to sender"),
    "postsuper": ("postsuper", "removed"),
    # Said of every message that has left the queue: engagement, in a manner of speaking.
    "removed": ("qmgr", "removed"),
}

#: The letters of a long queue id (enable_long_queue_ids): no vowels, so that it never is a word.
_LETTERS = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"


def identify(rng: Random, created: datetime, number: int) -> str:
    """Make a long queue id: seconds, microseconds, "z", a file number."""
    microseconds = to_microseconds(created)
    seconds, fraction = divmod(microseconds, 1_000_000)
    return f"{_in_letters(seconds, 6)}{_in_letters(fraction, 4)}z{_in_letters(number * 7 + rng.randrange(7), 3)}"


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one line; the line that ends a queue id together with the last attempt's."""
    if report.native == "removed":
        return _end(message, report).encode()
    status = "deferred" if report.native in ENDS else report.native
    attempt = _attempt(rng, message, report, status)
    return (f"{attempt}\n{_end(message, report)}\n" if report.native in ENDS else attempt).encode()


def _attempt(rng: Random, message: Message, report: Report, status: str) -> str:
    recipient = report.recipients[0]
    host = HOSTS[domain_of(recipient)]
    peer = f"{host.name.rstrip('.')}[{host.address}]"
    reply = reply_to(report.cause, recipient, f"{rng.getrandbits(40):010x}")
    said = str(reply) if status == "sent" else f"host {peer} said: {reply} (in reply to {_command(reply)} command)"
    delay = (report.time - message.created).total_seconds()
    return (
        f"{_head(report.time, 'smtp', 2117)}{message.provider_message_id}: to=<{recipient}>, relay={peer}:25, "
        f"delay={delay:.2g}, delays=0.05/0.01/0.6/0.54, dsn={reply.enhanced or f'{str(reply.code)[0]}.0.0'}, "
        f"status={status} ({said})"
    )


def _end(message: Message, report: Report) -> str:
    program, words = ENDS[report.native]
    return f"{_head(report.time, program, 900)}{message.provider_message_id}: {words}"


def _head(time: datetime, program: str, process: int) -> str:
    return f"{time.isoformat(timespec='microseconds')} mx1 postfix/{program}[{process}]: "


def _command(reply: Reply) -> str:
    return "end of DATA" if reply.command == "." else reply.command


def _in_letters(number: int, least: int) -> str:
    letters = ""
    while number or len(letters) < least:
        number, digit = divmod(number, len(_LETTERS))
        letters = _LETTERS[digit] + letters
    return letters


POSTFIX = Provider(
    name="postfix",
    topic="mta",
    campaigns=1,
    lives=LIVES,
    engagement={"sent": (Step("removed", (0.0, 0.1)),)},
    contradictions={
        # A server that took a message after all.
        ("bounced", "user_unknown"): Step("sent", (5.0, 60.0), "accepted"),
        ("bounced", "refused"): Step("sent", (5.0, 60.0), "accepted"),
        ("bounced", "disabled"): Step("sent", (5.0, 60.0), "accepted"),
    },
    unknown="quarantined",
    carries_ids=False,
    tells_time=True,
    keyed=True,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=address,
    write=write,
)
