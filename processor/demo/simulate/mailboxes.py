"""Mailbox providers as they answer, shared by the simulated mail providers.

The texts are modelled on what the large mailbox providers answer; addresses are of the reserved top-level domain
`.example`, so that no simulated recipient can be anyone's.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

GMAIL = "gmail.example"
YAHOO = "yahoo.example"
OUTLOOK = "outlook.example"
SELF_HOSTED = "example.org"

#: Mailbox providers by share of recipients, in percent.
SHARES: dict[str, int] = {GMAIL: 45, YAHOO: 15, OUTLOOK: 25, SELF_HOSTED: 15}


class Host(NamedTuple):
    """Where a domain's mail goes."""

    #: KumoMTA's name of all its mail exchangers together.
    site: str
    name: str
    address: str


HOSTS: dict[str, Host] = {
    GMAIL: Host("(alt1|alt2|alt3|alt4)?.gmail-smtp-in.l.google.com", "gmail-smtp-in.l.google.com.", "192.0.2.27"),
    YAHOO: Host("(mta5|mta6|mta7).am0.yahoodns.net", "mta7.am0.yahoodns.net.", "198.51.100.9"),
    OUTLOOK: Host("outlook-com.olc.protection.outlook.com", "outlook-com.olc.protection.outlook.com.", "203.0.113.161"),
    SELF_HOSTED: Host("mx1.example.org", "mx1.example.org.", "203.0.113.25"),
}


class Reply(NamedTuple):
    """What a receiving server answers."""

    code: int
    #: RFC 3463; empty where the server gives none.
    enhanced: str
    text: str
    #: The command that was answered; "." is the end of the message.
    command: str = "RCPT TO"

    def __str__(self) -> str:
        """Write the reply as it goes over the wire."""
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


#: Replies by cause, then by the recipient's domain; "{to}" stands for the recipient.
REPLIES: dict[str, dict[str, Reply]] = {
    "accepted": {
        GMAIL: Reply(250, "2.0.0", "OK  {ref} - gsmtp", "."),
        YAHOO: Reply(250, "", "ok dirdel", "."),
        OUTLOOK: Reply(250, "2.6.0", "<{ref}@mail.example.com> Queued mail for delivery -> 250 2.1.5", "."),
        SELF_HOSTED: Reply(250, "2.0.0", "Ok: queued as {ref}", "."),
    },
    "busy": {
        GMAIL: Reply(
            421,
            "4.7.28",
            "Gmail has detected an unusual rate of unsolicited mail originating from your IP address. To protect our"
            " users from spam, mail sent from your IP address has been temporarily rate limited. - gsmtp",
            ".",
        ),
        YAHOO: Reply(
            421,
            "4.7.0",
            "[TSS04] Messages from 192.0.2.10 temporarily deferred due to unexpected volume or user complaints -"
            " 4.16.55.1",
            "MAIL FROM",
        ),
        OUTLOOK: Reply(
            451,
            "4.7.652",
            "The mail server [192.0.2.10] has exceeded the maximum number of connections. (S3115)",
            "MAIL FROM",
        ),
        SELF_HOSTED: Reply(450, "4.2.0", "<{to}>: Recipient address rejected: Greylisted, see you in 300 seconds"),
    },
    "mailbox_full": {
        GMAIL: Reply(452, "4.2.2", "The recipient's inbox is out of storage space. - gsmtp"),
        YAHOO: Reply(452, "4.2.2", "Mailbox for {to} is over quota", "."),
        OUTLOOK: Reply(452, "4.5.3", "Requested action not taken; mailbox full for {to}"),
        SELF_HOSTED: Reply(452, "4.2.2", "<{to}>: Recipient address rejected: Mailbox is full / Blocks limit exceeded"),
    },
    "user_unknown": {
        GMAIL: Reply(
            550,
            "5.1.1",
            "The email account that you tried to reach does not exist. Please try double-checking the recipient's"
            " email address for typos or unnecessary spaces. - gsmtp",
        ),
        YAHOO: Reply(554, "", "delivery error: dd This user doesn't have a yahoo.example account ({to}) [0]", "."),
        OUTLOOK: Reply(550, "5.5.0", "Requested action not taken: mailbox unavailable (S2017062302)."),
        SELF_HOSTED: Reply(550, "5.1.1", "<{to}>: Recipient address rejected: User unknown in virtual mailbox table"),
    },
    "disabled": {
        GMAIL: Reply(550, "5.2.1", "The email account that you tried to reach is inactive. - gsmtp"),
        YAHOO: Reply(554, "5.2.1", "30 Sorry, your message to {to} cannot be delivered. This mailbox is disabled."),
        OUTLOOK: Reply(550, "5.2.1", "Mailbox cannot be accessed: account disabled [{to}]"),
        SELF_HOSTED: Reply(550, "5.2.1", "<{to}>: Recipient address rejected: This mailbox has been disabled"),
    },
    "refused": {
        GMAIL: Reply(
            550,
            "5.7.26",
            "Your email has been blocked because the sender is unauthenticated. Gmail requires all senders to"
            " authenticate with either SPF or DKIM. - gsmtp",
            ".",
        ),
        YAHOO: Reply(554, "5.7.9", "Message not accepted for policy reasons.  See the sender's postmaster page", "."),
        OUTLOOK: Reply(
            550,
            "5.7.1",
            "Unfortunately, messages from [192.0.2.10] weren't sent. Please contact your Internet service provider"
            " since part of their network is on our block list (S3150).",
            "MAIL FROM",
        ),
        SELF_HOSTED: Reply(554, "5.7.1", "Service unavailable; Client host [192.0.2.10] blocked using a block list"),
    },
}


def reply_to(cause: str, recipient: str, reference: str) -> Reply:
    """Return what the recipient's mailbox provider answers; `reference` is its own id for what it accepted."""
    reply = REPLIES[cause][domain_of(recipient)]
    return reply._replace(text=reply.text.replace("{to}", recipient).replace("{ref}", reference))


def domain_of(recipient: str) -> str:
    """Return the domain of an address."""
    return recipient.rpartition("@")[2]


def address(rng: Random) -> str:
    """Make up a recipient."""
    domain = rng.choices(list(SHARES), list(SHARES.values()))[0]
    return f"user{rng.randrange(10_000_000):07d}@{domain}"
