"""Know kinds of reasons by the words that mailbox providers, mail servers and SMS gateways use. Tables as data.

The last resort, where no code says more, and the correction where a code is known to mislead. Plain substrings of a
bounded text: no pattern, so no text can make the search slow.

Sources: Gmail "SMTP errors and codes" (support.google.com/a/answer/3726730); Microsoft "Outlook.com Postmaster" and
"Email non-delivery reports in Exchange Online"; Yahoo "SMTP error codes" (senders.yahooinc.com/smtp-error-codes);
Apple "Postmaster information for iCloud Mail" (support.apple.com/102322); GMX and Web.de "SMTP error messages"
(postmaster.gmx.net/en/error-messages); T-Online "FAQ" (postmaster.t-online.de); Mail.ru "Error codes"
(help.mail.ru/developers/notices_codes); Yandex "Errors when sending" (yandex.com/support/mail); Orange, Free, SFR and
La Poste by their codes (OFR_, LPN); Comcast "Error codes" (postmaster.comcast.net); Proofpoint, Mimecast and Barracuda
by their administration guides; Spamhaus, SpamCop by their look-up pages; the messages of Postfix, Exim, qmail and
Sendmail by their source code; Adobe, "Delivery failures", for the kinds. Read between 2026-02 and 2026-08.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from processor.domain.reason import Category

_C = Category


class Words(NamedTuple):
    """What somebody says when it means a kind of reason: any of these, in lower case."""

    who: str
    category: Category
    any_of: tuple[str, ...]
    #: Whether the words say so plainly that they win over an enhanced status code that says something else.
    are_plain: bool = False


#: In this order, the first that is found decides: what is said of the sender ("blocked", "spam") comes before what is
#: said of the recipient in passing, and what is special before what is general. "-" and "_" count as spaces.
PHRASES: tuple[Words, ...] = (
    # The provider could not find the domain's mail servers.
    Words(
        "SendGrid",
        _C.INVALID_DOMAIN,
        ("unable to get mx info", "failed to get ips from ptr record", "unable to find mx", "could not resolve mx"),
        are_plain=True,
    ),
    # The recipient does not want it.
    Words(
        "everybody",
        _C.DENYLISTED,
        ("opted out", "has unsubscribed", "recipient unsubscribed", "on suppression list"),
        are_plain=True,
    ),
    Words("SMS", _C.DENYLISTED, ("do-not-disturb", "do not disturb", "dnd active", "dnd list", "ncpr", "stop keyword")),
    # The mailbox is full.
    Words(
        "Gmail",
        _C.MAILBOX_FULL,
        ("inbox is out of storage space", "is over quota", "out of storage space", "exceeded their disk space"),
        are_plain=True,
    ),
    Words(
        "Orange, La Poste",
        _C.MAILBOX_FULL,
        ("recipient overquota", "boite du destinataire pleine", "boîte pleine"),
        are_plain=True,
    ),
    Words(
        "Web.de, GMX",
        _C.MAILBOX_FULL,
        ("speichervolumen", "exhausted allowed storage", "speicherplatz", "postfach voll"),
        are_plain=True,
    ),
    Words(
        "everybody",
        _C.MAILBOX_FULL,
        (
            "mailbox full",
            "mailbox is full",
            "mailbox has exceeded",
            "mailbox size limit",
            "mailbox limit exceeded",
            "mail box full",
            "mailfolder is full",
            "mailfolder is over",
            "inbox full",
            "inbox is full",
            "quota exceeded",
            "exceeded quota",
            "exceeds quota",
            "exceed the quota",
            "exceeded its quota",
            "over quota",
            "overquota",
            "over the quota",
            "out of quota",
            "quota violation",
            "disk quota",
            "storage quota",
            "exceeded storage",
            "exceeds allowed storage",
            "insufficient disk space",
            "not enough storage",
            "would exceed mailbox",
            "too many messages on the server",
            "buzón lleno",
            "casella piena",
        ),
        are_plain=True,
    ),
    Words(
        "SMS", _C.MAILBOX_FULL, ("memory capacity exceeded", "memory full", "no subscriber memory", "memory exceeded")
    ),
    # It was never connected, or is not now.
    Words(
        "SMS",
        _C.NOT_CONNECTED,
        (
            "absent subscriber",
            "subscriber absent",
            "phone is currently unreachable",
            "handset is unreachable",
            "handset unreachable",
            "phone is off",
            "switched off",
            "phone off",
            "out of coverage",
            "no page response",
            "imsi detached",
            "roaming not allowed",
        ),
    ),
    # The sender is not trusted: lists, reputation, authentication.
    Words(
        "everybody, of the sender, plainly",
        _C.REFUSED,
        (
            "sender address rejected",
            "sender rejected",
            "sender denied",
            "sender blocked",
            "sender verify failed",
            "invalid sender",
            "bad sender",
            "sender frequency limited",
            "sender limit",
            "relay access denied",
            "relaying denied",
            "relay not permitted",
            "relaying not allowed",
            "unable to relay",
            "spoofed",
            "spamhaus",
            "spamcop",
            "blocked using",
        ),
        are_plain=True,
    ),
    Words(
        "block lists",
        _C.REFUSED,
        (
            "sorbs.net",
            "uceprotect",
            "invaluement",
            "abuseat.org",
            "abusix",
            "senderscore",
            "mailspike",
            "surbl",
            "uribl",
            "nixspam",
            "dnsbl",
            "cloudmark",
            "truncate.gbudb",
            "rbl ",
            "blocklist",
            "block list",
            "blacklist",
            "black list",
            "blackholed",
            "is listed",
        ),
    ),
    Words(
        "Proofpoint, Mimecast, Barracuda, Cisco, Trend Micro",
        _C.REFUSED,
        (
            "ipcheck.proofpoint.com",
            "proofpoint",
            "local policy violation",
            "email rejected due to security policies",
            "anti-spoofing policy",
            "envelope blocked",
            "administrative prohibition",
            "csi.mimecast.org",
            "poor reputation",
            "barracudanetworks.com/reputation",
            "barracuda reputation",
            "barracudacentral",
            "sendersupport.olc.protection",
            "ers.trendmicro.com",
            "messagelabs",
            "reputation",
        ),
    ),
    Words(
        "Gmail",
        _C.REFUSED,
        (
            "unsolicited mail",
            "unsolicited message",
            "likely suspicious",
            "is suspicious",
            "unusual rate",
            "bulk email senders guidelines",
            "blocked because its content presents a potential security issue",
            "does not meet ipv6 sending guidelines",
            "unauthenticated email",
            "sender is unauthenticated",
            "mail is unauthenticated",
            "email policy",
            "receiving mail at a rate",
            "receiving mail too quickly",
        ),
    ),
    Words(
        "Outlook.com, Exchange Online",
        _C.REFUSED,
        (
            "banned sending ip",
            "part of their network is on our block",
            "ip address not allowed",
            "spamsource",
            "spam source",
            "does not pass dmarc",
            "sender not allowed",
            "message content rejected",
            "tenantattribution",
            "not permitted to relay",
            "attributemessage",
            "message rejected because",
            "as2239",
        ),
    ),
    Words(
        "Yahoo, AOL",
        _C.REFUSED,
        (
            "unexpected volume or user complaints",
            "[tss",
            "[bl2",
            "not accepted for policy reasons",
            "connections will not be accepted from",
            "dynt:",
            "rly:",
            "hvu:",
            "con:b1",
        ),
    ),
    Words(
        "Apple iCloud", _C.REFUSED, ("ht204137", "rejected due to local policy", "[cs01]", "[hm", "proofpoint rejected")
    ),
    Words(
        "GMX, Web.de, T-Online",
        _C.REFUSED,
        (
            "reject due to policy restrictions",
            "postmaster.gmx",
            "postmaster.web.de",
            "postmaster.1und1",
            "ask your postmaster for help",
            "bad dns ptr",
            "nemesis esmtp service not available",
            "als spam",
            "abgelehnt",
        ),
    ),
    Words(
        "Mail.ru, Yandex, Rambler",
        _C.REFUSED,
        ("suspicion of spam", "notspam-support", "ya.cc/", "policy rejection on the target", "spam message rejected"),
    ),
    Words(
        "Orange, Free, SFR, La Poste",
        _C.REFUSED,
        (
            "ofr_5",
            "ofr_1",
            "ofr004_",
            "ofr_0",
            "mail rejete",
            "too many spams from your ip",
            "service refuse",
            "lpn007_",
            "lpn105",
            "lpnaaa",
        ),
    ),
    Words(
        "Comcast",
        _C.REFUSED,
        ("comcast block for spam", "#bl000", "#rl000", "throttled - rl", "postmaster.comcast.net/smtp-error-codes"),
    ),
    Words(
        "everybody, of the sender",
        _C.REFUSED,
        (
            "spam",
            "junk mail",
            "bulk mail",
            "virus",
            "malware",
            "phishing",
            "infected",
            "spf",
            "dkim",
            "dmarc",
            "reverse dns",
            "ptr record",
            "reverse hostname",
            "helo command rejected",
            "client host rejected",
            "authentication required",
            "authentication is required",
            "must issue a starttls",
            "tls required",
            "tls is required",
            "too large",
            "too big",
            "exceeds size limit",
            "exceeds maximum",
            "size exceeds",
            "maximum message size",
            "message size",
            "content rejected",
            "content denied",
            "content filter",
            "prohibited attachment",
            "attachment",
            "too many recipients",
            "rate limit",
            "ratelimit",
            "throttl",
            "too many messages",
            "too many mails",
            "too many connections",
            "daily limit",
            "sending limit",
            "policy",
            "not rfc 5322 compliant",
            "not rfc compliant",
            "loop detected",
            "too many hops",
            "hop count",
        ),
    ),
    Words(
        "SMS",
        _C.REFUSED,
        (
            "blocked this message",
            "has blocked sms",
            "max price",
            "insufficient balance",
            "insufficient credit",
            "insufficient funds",
            "sender id",
            "senderid",
            "sender not registered",
            "template not",
            "teleservice not provisioned",
            "call barred",
            "not provisioned",
            "facility not supported",
            "throttling",
            "message length",
            "message body is invalid",
            "protect configuration",
        ),
    ),
    # It is to come again.
    Words("everybody", _C.UNREACHABLE, ("greylist", "graylist", "grey list")),
    # The account is closed.
    Words(
        "Gmail",
        _C.ACCOUNT_DISABLED,
        ("you tried to reach is disabled", "you tried to reach is inactive", "p=disableduser"),
        are_plain=True,
    ),
    Words("Yahoo", _C.ACCOUNT_DISABLED, ("mailbox is disabled", "been disabled or discontinued"), are_plain=True),
    Words(
        "Mail.ru",
        _C.ACCOUNT_DISABLED,
        ("user is terminated", "account is disabled", "non-local recipient verification"),
        are_plain=True,
    ),
    Words(
        "everybody",
        _C.ACCOUNT_DISABLED,
        (
            "account disabled",
            "account has been disabled",
            "account is not active",
            "account inactive",
            "account is inactive",
            "account suspended",
            "account has been suspended",
            "account is suspended",
            "account closed",
            "account locked",
            "account expired",
            "account deactivated",
            "account has been closed",
            "user disabled",
            "user is disabled",
            "user is inactive",
            "user suspended",
            "user is locked",
            "inactive user",
            "inactive mailbox",
            "inactive recipient",
            "mailbox disabled",
            "mailbox inactive",
            "mailbox is inactive",
            "mailbox suspended",
            "mailbox locked",
            "mailbox blocked",
            "mailbox has been blocked",
            "mailbox temporarily disabled",
            "blocked due to inactivity",
            "no longer active",
            "disabled recipient",
            "rejected: inactive",
            "has been deactivated",
        ),
        are_plain=True,
    ),
    Words(
        "SMS", _C.ACCOUNT_DISABLED, ("illegal subscriber", "illegal equipment", "subscriber suspended", "deactivated")
    ),
    # The domain is wrong.
    Words(
        "everybody",
        _C.INVALID_DOMAIN,
        (
            "host or domain name not found",
            "host not found",
            "domain not found",
            "domain name not found",
            "no such domain",
            "unknown domain",
            "unknown host",
            "unknown mail server",
            "unrouteable mail domain",
            "unrouteable address",
            "unroutable address",
            "no mx record",
            "no mx or a",
            "no mx or address",
            "no mail hosts for domain",
            "null mx",
            "nullmx",
            "does not accept mail",
            "doesn't accept mail",
            "domain does not exist",
            "domain doesn't exist",
            "non-existent host",
            "non existing domain",
            "nxdomain",
            "bad destination host",
            "bad destination system",
            "illegal host/domain",
            "hosteddomain",
            "does not receive mail",
            "not a valid domain",
            "invalid domain",
        ),
        are_plain=True,
    ),
    # Nobody is there.
    Words("Gmail", _C.USER_UNKNOWN, ("p=nosuchuser",), are_plain=True),
    Words(
        "Outlook.com, Exchange Online",
        _C.USER_UNKNOWN,
        (
            "recipient address rejected: access denied",
            "recipnotfound",
            "recipientnotfound",
            "requested action not taken: mailbox",
        ),
        are_plain=True,
    ),
    Words("Yahoo, AOL", _C.USER_UNKNOWN, ("mailbox not found",), are_plain=True),
    Words(
        "Orange, La Poste",
        _C.USER_UNKNOWN,
        ("adresse d au moins un destinataire invalide", "destinataire invalide"),
        are_plain=True,
    ),
    Words("Mail.ru, Yandex", _C.USER_UNKNOWN, ("no such user",), are_plain=True),
    Words("Comcast", _C.USER_UNKNOWN, ("not our customer",), are_plain=True),
    Words(
        "everybody",
        _C.USER_UNKNOWN,
        (
            "user unknown",
            "addressee unknown",
            "unknown addressee",
            "doesn't have an account",
            "does not have an account",
            "doesn't have a",
            "no account by that name",
            "unknown user",
            "user not found",
            "user not exist",
            "user does not exist",
            "user doesn't exist",
            "user is unknown",
            "unknown recipient",
            "recipient unknown",
            "recipient not found",
            "recipient does not exist",
            "recipient not exist",
            "no such recipient",
            "no such mailbox",
            "no such address",
            "no such account",
            "no such person",
            "no mailbox",
            "mailbox does not exist",
            "mailbox doesn't exist",
            "mailbox unknown",
            "unknown mailbox",
            "account does not exist",
            "account that you tried to reach does not exist",
            "account doesn't exist",
            "account not found",
            "unknown account",
            "address does not exist",
            "address doesn't exist",
            "address unknown",
            "unknown address",
            "address not found",
            "unknown local part",
            "unknown local-part",
            "invalid recipient",
            "recipient invalid",
            "invalid address",
            "invalid mailbox",
            "invalid user",
            "bad destination mailbox",
            "bad recipient",
            "not a valid mailbox",
            "not a valid recipient",
            "not a known user",
            "not known here",
            "is not known",
            "undeliverable address",
            "unable to find user",
            "unable to verify the recipient",
            "recipient verify failed",
            "undeliverable recipient",
            "does not like recipient",
            "user not known",
            "utilisateur inconnu",
            "benutzer nicht bekannt",
            "usuario desconocido",
            "utente sconosciuto",
            "not listed in domino directory",
        ),
        are_plain=True,
    ),
    Words(
        "SMS",
        _C.USER_UNKNOWN,
        (
            "unknown subscriber",
            "unidentified subscriber",
            "invalid phone number",
            "invalid number",
            "invalid destination",
            "invalid msisdn",
            "number does not exist",
            "unallocated number",
            "unknown destination",
            "not a mobile number",
            "incorrect number",
        ),
    ),
    # It could not be reached.
    Words(
        "everybody",
        _C.UNREACHABLE,
        (
            "timed out",
            "timeout",
            "time out",
            "connection refused",
            "connection reset",
            "connection dropped",
            "connection lost",
            "connection closed",
            "lost connection",
            "cannot connect",
            "could not connect",
            "unable to connect",
            "couldn't connect",
            "failed to connect",
            "connect failed",
            "no route to host",
            "network is unreachable",
            "network unreachable",
            "host is unreachable",
            "no answer from host",
            "bad connection",
            "broken pipe",
            "mail server temporarily",
            "server busy",
            "server is busy",
            "system busy",
            "overloaded",
            "try again",
            "try later",
            "retry later",
            "resend later",
            "temporarily deferred",
            "temporary failure",
            "temporary domain failure",
            "temporary error",
            "temporary problem",
            "temporary lookup failure",
            "temporarily unavailable",
            "temporary system problem",
            "temporarily rejected",
            "service unavailable",
            "service not available",
            "not available at this time",
            "system not accepting",
            "internal error",
            "internal server error",
            "local error",
            "local problem",
            "server error",
            "system error",
            "insufficient system",
            "retry timeout exceeded",
            "message expired",
            "delivery expired",
            "expired",
            "in queue too long",
            "too old",
            "undeliverable for",
            "queue lifetime",
            "loops back to myself",
            "tls handshake",
            "ssl ",
            "starttls",
            "certificate",
            "dane ",
            "mta-sts",
            "dns error",
            "dns lookup",
            "dns temporary",
            "servfail",
            "name service error",
            "cname lookup failed",
            "domain lookup",
            "retries exceeded",
            "carrier is currently unreachable",
            "unreachable",
            "no route",
            "routing",
            "subscriber busy",
            "delivery failure",
            "network failure",
            "landline",
            "congestion",
        ),
    ),
    # It was refused, in general terms: the recipient, or anything.
    Words(
        "everybody",
        _C.USER_UNKNOWN,
        ("address rejected", "recipient rejected", "mailbox unavailable", "mailbox not available"),
    ),
    Words(
        "everybody",
        _C.REFUSED,
        (
            "blocked",
            "banned",
            "rejected",
            "denied",
            "refused",
            "not accepted",
            "not allowed",
            "not authorized",
            "not authorised",
            "unauthorized",
            "prohibited",
            "forbidden",
            "not permitted",
            "access restricted",
            "syntax error",
            "protocol error",
            "protocol violation",
            "bad sequence",
            "command not",
            "complaint",
        ),
    ),
)


class Misleading(NamedTuple):
    """A code that somebody uses in another sense than its standard: when the text says this, it means that."""

    #: "subject.detail" of the enhanced status code.
    code: str
    phrase: str
    category: Category


#: Looked at before the table of codes. From the sources above.
MISLEADING: tuple[Misleading, ...] = (
    # Exchange Online, directory-based edge blocking: the recipient does not exist. (5.4.1 is "no answer from host".)
    Misleading("4.1", "recipient address rejected: access denied", _C.USER_UNKNOWN),
    # Exchange Online: no such recipient. (5.1.10 is "null MX".)
    Misleading("1.10", "recipientnotfound", _C.USER_UNKNOWN),
    Misleading("1.10", "recipient not found", _C.USER_UNKNOWN),
    Misleading("1.10", "resolver.adr", _C.USER_UNKNOWN),
    # Outlook.com: no such mailbox. (5.5.0 is "other protocol status".)
    Misleading("5.0", "mailbox unavailable", _C.USER_UNKNOWN),
    Misleading("5.1", "mailbox unavailable", _C.USER_UNKNOWN),
    # Yandex and others: no such user, as a matter of policy.
    Misleading("7.1", "no such user", _C.USER_UNKNOWN),
    Misleading("7.1", "user unknown", _C.USER_UNKNOWN),
    Misleading("7.1", "unknown user", _C.USER_UNKNOWN),
    Misleading("7.1", "mailbox full", _C.MAILBOX_FULL),
    Misleading("7.1", "over quota", _C.MAILBOX_FULL),
    # Gmail: the account exists, and receives too much. (4.2.1 is "mailbox disabled".)
    Misleading("2.1", "receiving mail", _C.REFUSED),
    Misleading("2.1", "rate limit", _C.REFUSED),
    Misleading("2.1", "will not accept delivery", _C.REFUSED),  # AOL
    Misleading("2.1", "spam", _C.REFUSED),
    Misleading("2.1", "user unknown", _C.USER_UNKNOWN),
    Misleading("2.1", "no such user", _C.USER_UNKNOWN),
    Misleading("2.1", "does not exist", _C.USER_UNKNOWN),
    # Some write 5.1.1 when they mean the sender.
    Misleading("1.1", "spamhaus", _C.REFUSED),
    Misleading("1.1", "blocked using", _C.REFUSED),
    Misleading("1.0", "spamhaus", _C.REFUSED),
    Misleading("1.0", "sender rejected", _C.REFUSED),
    Misleading("1.0", "sender address rejected", _C.REFUSED),
    Misleading("1.0", "throttled", _C.REFUSED),  # Comcast: 421 4.1.0
    Misleading("1.1", "over quota", _C.MAILBOX_FULL),
    Misleading("1.1", "mailbox full", _C.MAILBOX_FULL),
    Misleading("1.1", "overquota", _C.MAILBOX_FULL),  # Orange: 552 5.1.1
    # Postfix and others: the domain has no mail server. (5.4.4 is "unable to route".)
    Misleading("4.4", "host not found", _C.INVALID_DOMAIN),
    Misleading("4.4", "domain name not found", _C.INVALID_DOMAIN),
    Misleading("4.4", "nullmx", _C.INVALID_DOMAIN),
    Misleading("4.4", "no mx", _C.INVALID_DOMAIN),
    Misleading("4.4", "no mail hosts", _C.INVALID_DOMAIN),
    Misleading("4.0", "domain does not exist", _C.INVALID_DOMAIN),
    Misleading("4.0", "domain doesn't exist", _C.INVALID_DOMAIN),
)

#: How words are joined varies: "Invalid-Recipient", "recipient_not_found".
_JOINED = str.maketrans("-_", "  ")

_MISLEADING_BY_CODE = {
    code: tuple((row.phrase.translate(_JOINED), row.category) for row in MISLEADING if row.code == code)
    for code in {row.code for row in MISLEADING}
}
_PHRASES = tuple((phrase.translate(_JOINED), words) for words in PHRASES for phrase in words.any_of)

#: How much of a text is looked at: what comes further on is quoted.
_FRONT = 500


def category_of_text(text: str | None) -> Category:
    """Give the kind of reason that a text tells in known words, else UNDEFINED."""
    words = _words_in(_plain(text)) if text else None
    return Category.UNDEFINED if words is None else words.category


def plain_category_of(text: str | None) -> Category | None:
    """Give the kind of reason that a text tells so plainly that no code says better; None where it does not."""
    words = _words_in(_plain(text)) if text else None
    return words.category if words is not None and words.are_plain else None


@lru_cache(maxsize=4096)
def _words_in(plain: str) -> Words | None:
    # Servers say the same of many messages; a text that is new is looked at for each of some five hundred phrases.
    for phrase, words in _PHRASES:
        if phrase in plain:
            return words
    return None


def correction_of(enhanced_code: str, text: str) -> Category | None:
    """Give the kind of reason that a text tells where its enhanced status code is known to mislead."""
    rows = _MISLEADING_BY_CODE.get(enhanced_code[2:])
    if rows is not None:
        plain = _plain(text)
        for phrase, category in rows:
            if phrase in plain:
                return category
    return None


def _plain(text: str) -> str:
    """Leave the words: no codes, numbers, or addresses ("spam@example.org" is no spam), and one space between them."""
    text = text[:_FRONT].lower().replace("\\n", " ").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return " ".join([word for word in text.split() if word.islower() and "@" not in word]).translate(_JOINED)
