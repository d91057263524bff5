"""Map standard codes of failure to categories: tables, each with its source.

Only standards are here; a provider's own classes and codes are in its file.
"""

from __future__ import annotations

import re

from processor.domain.reason import Category
from processor.domain.status import Permanence
from processor.providers.adapter import Means
from processor.providers.phrases import category_of_text, correction_of, plain_category_of

_C = Category

#: Kind of reason by "subject.detail" of an enhanced status code.
#: RFC 3463, and the IANA registry "SMTP Enhanced Status Codes"; the kinds are Adobe's ("Delivery failures").
ENHANCED: dict[str, Category] = {
    "1.0": _C.USER_UNKNOWN,  # other address status; in practice "address rejected"
    "1.1": _C.USER_UNKNOWN,  # bad destination mailbox address
    "1.2": _C.INVALID_DOMAIN,  # bad destination system address
    "1.3": _C.USER_UNKNOWN,  # bad destination mailbox address syntax
    "1.4": _C.USER_UNKNOWN,  # destination mailbox address ambiguous
    "1.5": _C.UNDEFINED,  # destination address valid: a success
    "1.6": _C.USER_UNKNOWN,  # destination mailbox has moved, no forwarding address
    "1.7": _C.REFUSED,  # bad sender's mailbox address syntax
    "1.8": _C.REFUSED,  # bad sender's system address
    "1.9": _C.REFUSED,  # message relayed to non-compliant mailer (RFC 3886)
    "1.10": _C.INVALID_DOMAIN,  # recipient address has null MX (RFC 7505)
    "2.0": _C.UNDEFINED,  # other or undefined mailbox status
    "2.1": _C.ACCOUNT_DISABLED,  # mailbox disabled, not accepting messages
    "2.2": _C.MAILBOX_FULL,  # mailbox full
    "2.3": _C.REFUSED,  # message length exceeds administrative limit
    "2.4": _C.UNREACHABLE,  # mailing list expansion problem
    "3.0": _C.UNREACHABLE,  # other or undefined mail system status
    "3.1": _C.MAILBOX_FULL,  # mail system full
    "3.2": _C.UNREACHABLE,  # system not accepting network messages
    "3.3": _C.REFUSED,  # system not capable of selected features
    "3.4": _C.REFUSED,  # message too big for system
    "3.5": _C.UNREACHABLE,  # system incorrectly configured
    "3.6": _C.UNDEFINED,  # requested priority was changed: a success (RFC 6710)
    "4.0": _C.UNREACHABLE,  # other or undefined network or routing status
    "4.1": _C.UNREACHABLE,  # no answer from host
    "4.2": _C.UNREACHABLE,  # bad connection
    "4.3": _C.UNREACHABLE,  # directory server failure
    "4.4": _C.UNREACHABLE,  # unable to route
    "4.5": _C.UNREACHABLE,  # mail system congestion
    "4.6": _C.UNREACHABLE,  # routing loop detected
    "4.7": _C.UNREACHABLE,  # delivery time expired
    "5.0": _C.REFUSED,  # other or undefined protocol status
    "5.1": _C.REFUSED,  # invalid command
    "5.2": _C.REFUSED,  # syntax error
    "5.3": _C.REFUSED,  # too many recipients
    "5.4": _C.REFUSED,  # invalid command arguments
    "5.5": _C.REFUSED,  # wrong protocol version
    "5.6": _C.REFUSED,  # authentication exchange line is too long (RFC 4954)
    "6.0": _C.REFUSED,  # other or undefined media error
    "6.1": _C.REFUSED,  # media not supported
    "6.2": _C.REFUSED,  # conversion required and prohibited
    "6.3": _C.REFUSED,  # conversion required but not supported
    "6.4": _C.REFUSED,  # conversion with loss performed
    "6.5": _C.REFUSED,  # conversion failed
    "6.6": _C.REFUSED,  # message content not available (RFC 4468)
    "6.7": _C.REFUSED,  # non-ASCII addresses not permitted for that sender or recipient (RFC 6531)
    "6.8": _C.REFUSED,  # UTF-8 string reply is required, but not permitted (RFC 6531)
    "6.9": _C.REFUSED,  # UTF-8 header message cannot be transferred (RFC 6531)
    "6.10": _C.REFUSED,  # the same as 6.8 (RFC 6531)
    "7.0": _C.REFUSED,  # other or undefined security status
    "7.1": _C.REFUSED,  # delivery not authorized, message refused
    "7.2": _C.REFUSED,  # mailing list expansion prohibited
    "7.3": _C.REFUSED,  # security conversion required but not possible
    "7.4": _C.REFUSED,  # security features not supported
    "7.5": _C.REFUSED,  # cryptographic failure
    "7.6": _C.REFUSED,  # cryptographic algorithm not supported
    "7.7": _C.REFUSED,  # message integrity failure
    "7.8": _C.REFUSED,  # authentication credentials invalid (RFC 4954)
    "7.9": _C.REFUSED,  # authentication mechanism is too weak (RFC 4954)
    "7.10": _C.REFUSED,  # encryption needed (RFC 5248)
    "7.11": _C.REFUSED,  # encryption required for requested authentication mechanism (RFC 4954)
    "7.12": _C.REFUSED,  # a password transition is needed (RFC 4954)
    "7.13": _C.ACCOUNT_DISABLED,  # user account disabled (RFC 5248)
    "7.14": _C.REFUSED,  # trust relationship required (RFC 5248)
    "7.15": _C.REFUSED,  # priority level is too low (RFC 6710)
    "7.16": _C.REFUSED,  # message is too big for the specified priority (RFC 6710)
    "7.17": _C.USER_UNKNOWN,  # mailbox owner has changed (RFC 7293)
    "7.18": _C.INVALID_DOMAIN,  # domain owner has changed (RFC 7293)
    "7.19": _C.REFUSED,  # RRVS test cannot be completed (RFC 7293)
    "7.20": _C.REFUSED,  # no passing DKIM signature found (RFC 7372)
    "7.21": _C.REFUSED,  # no acceptable DKIM signature found (RFC 7372)
    "7.22": _C.REFUSED,  # no valid author-matched DKIM signature found (RFC 7372)
    "7.23": _C.REFUSED,  # SPF validation failed (RFC 7372)
    "7.24": _C.REFUSED,  # SPF validation error (RFC 7372)
    "7.25": _C.REFUSED,  # reverse DNS validation failed (RFC 7372)
    "7.26": _C.REFUSED,  # multiple authentication checks failed (RFC 7372)
    "7.27": _C.REFUSED,  # sender address has null MX (RFC 7505)
    "7.28": _C.REFUSED,  # mail flood detected
    "7.29": _C.REFUSED,  # ARC validation failure (RFC 8617)
    "7.30": _C.REFUSED,  # REQUIRETLS support required (RFC 8689)
}

#: Codes that words do not overturn: the name server did not answer for now, and the time in the queue ran out.
WRITTEN_BY_WHO_KNOWS = frozenset({"4.3", "4.7"})

#: Kind of reason by subject alone, for details that the table above does not know.
ENHANCED_SUBJECT: dict[str, Category] = {
    "0": _C.UNDEFINED,  # other or undefined status
    "1": _C.USER_UNKNOWN,  # addressing
    "2": _C.UNDEFINED,  # mailbox
    "3": _C.UNREACHABLE,  # mail system
    "4": _C.UNREACHABLE,  # network and routing
    "5": _C.REFUSED,  # mail delivery protocol
    "6": _C.REFUSED,  # message content or media
    "7": _C.REFUSED,  # security or policy: spam, SPF, DKIM, DMARC, blocklists, REQUIRETLS
}

#: Kind of reason by SMTP reply code, where there is no enhanced code. RFC 5321 section 4.2.3, unless noted.
REPLY: dict[str, Category] = {
    "421": _C.UNREACHABLE,  # service not available, closing the channel
    "432": _C.REFUSED,  # a password transition is needed (RFC 4954)
    "450": _C.UNREACHABLE,  # mailbox unavailable: busy, or greylisted
    "451": _C.UNREACHABLE,  # local error in processing
    "452": _C.MAILBOX_FULL,  # insufficient system storage
    "454": _C.REFUSED,  # temporary authentication failure, TLS not available (RFC 4954, RFC 3207)
    "455": _C.REFUSED,  # unable to accommodate parameters
    "500": _C.REFUSED,  # syntax error, command unrecognized
    "501": _C.REFUSED,  # syntax error in parameters
    "502": _C.REFUSED,  # command not implemented
    "503": _C.REFUSED,  # bad sequence of commands
    "504": _C.REFUSED,  # parameter not implemented
    "510": _C.USER_UNKNOWN,  # bad address; in no RFC, in use
    "511": _C.USER_UNKNOWN,  # bad address; in no RFC, in use
    "512": _C.INVALID_DOMAIN,  # host unknown; in no RFC, in use
    "521": _C.INVALID_DOMAIN,  # host does not accept mail (RFC 7504)
    "523": _C.REFUSED,  # message too long for the recipient; in no RFC, in use
    "525": _C.ACCOUNT_DISABLED,  # user account disabled (RFC 5248)
    "530": _C.REFUSED,  # authentication required (RFC 4954)
    "534": _C.REFUSED,  # authentication mechanism too weak (RFC 4954)
    "535": _C.REFUSED,  # authentication credentials invalid (RFC 4954)
    "538": _C.REFUSED,  # encryption required for authentication (RFC 4954)
    "541": _C.REFUSED,  # rejected as spam; in no RFC, in use
    "550": _C.USER_UNKNOWN,  # mailbox unavailable: not found, no access, or policy
    "551": _C.USER_UNKNOWN,  # user not local
    "552": _C.MAILBOX_FULL,  # exceeded storage allocation
    "553": _C.USER_UNKNOWN,  # mailbox name not allowed
    "554": _C.REFUSED,  # transaction failed
    "555": _C.REFUSED,  # MAIL FROM or RCPT TO parameters not recognized
    "556": _C.INVALID_DOMAIN,  # domain does not accept mail (RFC 7504)
}

_GAVE_UP = Permanence.GAVE_UP
_PERMANENT = Permanence.PERMANENT

#: How final and of what kind, by GSM MAP/SM-TL error, as carried by `network_error_code` of network type 3 (GSM).
#: 3GPP TS 29.002 section 17.6.6 and TS 23.040 section 3.3; split in permanent and temporary as operators publish it.
GSM_MAP: dict[int, tuple[Permanence, Category]] = {
    1: (_PERMANENT, _C.USER_UNKNOWN),  # unknown subscriber
    5: (_PERMANENT, _C.USER_UNKNOWN),  # unidentified subscriber
    6: (_GAVE_UP, _C.NOT_CONNECTED),  # absent subscriber, short message
    8: (_GAVE_UP, _C.NOT_CONNECTED),  # roaming not allowed
    9: (_PERMANENT, _C.ACCOUNT_DISABLED),  # illegal subscriber
    10: (_PERMANENT, _C.REFUSED),  # bearer service not provisioned
    11: (_PERMANENT, _C.REFUSED),  # teleservice not provisioned
    12: (_PERMANENT, _C.ACCOUNT_DISABLED),  # illegal equipment
    13: (_PERMANENT, _C.REFUSED),  # call barred
    15: (_PERMANENT, _C.REFUSED),  # closed user group reject
    21: (_PERMANENT, _C.REFUSED),  # facility not supported
    27: (_GAVE_UP, _C.NOT_CONNECTED),  # absent subscriber
    28: (_PERMANENT, _C.REFUSED),  # incompatible terminal
    31: (_GAVE_UP, _C.UNREACHABLE),  # subscriber busy for a short message
    32: (_GAVE_UP, _C.UNREACHABLE),  # delivery failure
    33: (_GAVE_UP, _C.MAILBOX_FULL),  # message waiting list full
    34: (_GAVE_UP, _C.UNREACHABLE),  # system failure
    35: (_GAVE_UP, _C.UNREACHABLE),  # data missing
    36: (_GAVE_UP, _C.UNREACHABLE),  # unexpected data value
    40: (_GAVE_UP, _C.MAILBOX_FULL),  # handset memory full
    49: (_GAVE_UP, _C.MAILBOX_FULL),  # handset memory full
    52: (_GAVE_UP, _C.MAILBOX_FULL),  # SIM memory full
    60: (_GAVE_UP, _C.NOT_CONNECTED),  # absent subscriber
    61: (_GAVE_UP, _C.NOT_CONNECTED),  # absent: detached or switched off
    62: (_GAVE_UP, _C.NOT_CONNECTED),  # absent: no page response, out of coverage or battery
    63: (_GAVE_UP, _C.NOT_CONNECTED),  # absent: roaming restrictions
    64: (_GAVE_UP, _C.NOT_CONNECTED),  # absent: deregistered in the HLR
    65: (_GAVE_UP, _C.NOT_CONNECTED),  # absent: purged
}

#: How final and of what kind, by SMPP command_status of a refused submission. SMPP 3.4 section 5.1.3.
#: What says "try later" is temporary, as Kannel has it (gw/smsc/smsc_smpp.c); all else is a refusal.
COMMAND_STATUS: dict[int, tuple[str, Permanence, Category]] = {
    0x01: ("ESME_RINVMSGLEN", _PERMANENT, _C.REFUSED),  # message length is invalid
    0x02: ("ESME_RINVCMDLEN", _PERMANENT, _C.REFUSED),  # command length is invalid
    0x03: ("ESME_RINVCMDID", _PERMANENT, _C.REFUSED),  # invalid command id
    0x04: ("ESME_RINVBNDSTS", _PERMANENT, _C.REFUSED),  # incorrect bind status for the command
    0x05: ("ESME_RALYBND", _PERMANENT, _C.REFUSED),  # already in bound state
    0x06: ("ESME_RINVPRTFLG", _PERMANENT, _C.REFUSED),  # invalid priority flag
    0x07: ("ESME_RINVREGDLVFLG", _PERMANENT, _C.REFUSED),  # invalid registered delivery flag
    0x08: ("ESME_RSYSERR", _GAVE_UP, _C.UNREACHABLE),  # system error
    0x0A: ("ESME_RINVSRCADR", _PERMANENT, _C.REFUSED),  # invalid source address
    0x0B: ("ESME_RINVDSTADR", _PERMANENT, _C.USER_UNKNOWN),  # invalid destination address
    0x0C: ("ESME_RINVMSGID", _PERMANENT, _C.REFUSED),  # message id is invalid
    0x0D: ("ESME_RBINDFAIL", _PERMANENT, _C.REFUSED),  # bind failed
    0x0E: ("ESME_RINVPASWD", _PERMANENT, _C.REFUSED),  # invalid password
    0x0F: ("ESME_RINVSYSID", _PERMANENT, _C.REFUSED),  # invalid system id
    0x11: ("ESME_RCANCELFAIL", _PERMANENT, _C.REFUSED),  # cancel failed
    0x13: ("ESME_RREPLACEFAIL", _PERMANENT, _C.REFUSED),  # replace failed
    0x14: ("ESME_RMSGQFUL", _GAVE_UP, _C.UNREACHABLE),  # message queue full
    0x15: ("ESME_RINVSERTYP", _PERMANENT, _C.REFUSED),  # invalid service type
    0x33: ("ESME_RINVNUMDESTS", _PERMANENT, _C.REFUSED),  # invalid number of destinations
    0x34: ("ESME_RINVDLNAME", _PERMANENT, _C.REFUSED),  # invalid distribution list name
    0x40: ("ESME_RINVDESTFLAG", _PERMANENT, _C.REFUSED),  # destination flag is invalid
    0x42: ("ESME_RINVSUBREP", _PERMANENT, _C.REFUSED),  # invalid submit-with-replace request
    0x43: ("ESME_RINVESMCLASS", _PERMANENT, _C.REFUSED),  # invalid esm_class
    0x44: ("ESME_RCNTSUBDL", _PERMANENT, _C.REFUSED),  # cannot submit to the distribution list
    0x45: ("ESME_RSUBMITFAIL", _PERMANENT, _C.REFUSED),  # submit_sm or submit_multi failed
    0x48: ("ESME_RINVSRCTON", _PERMANENT, _C.REFUSED),  # invalid source address TON
    0x49: ("ESME_RINVSRCNPI", _PERMANENT, _C.REFUSED),  # invalid source address NPI
    0x50: ("ESME_RINVDSTTON", _PERMANENT, _C.USER_UNKNOWN),  # invalid destination address TON
    0x51: ("ESME_RINVDSTNPI", _PERMANENT, _C.USER_UNKNOWN),  # invalid destination address NPI
    0x53: ("ESME_RINVSYSTYP", _PERMANENT, _C.REFUSED),  # invalid system type
    0x54: ("ESME_RINVREPFLAG", _PERMANENT, _C.REFUSED),  # invalid replace_if_present flag
    0x55: ("ESME_RINVNUMMSGS", _PERMANENT, _C.REFUSED),  # invalid number of messages
    0x58: ("ESME_RTHROTTLED", _GAVE_UP, _C.UNREACHABLE),  # throttled: allowed message limits exceeded
    0x61: ("ESME_RINVSCHED", _PERMANENT, _C.REFUSED),  # invalid scheduled delivery time
    0x62: ("ESME_RINVEXPIRY", _PERMANENT, _C.REFUSED),  # invalid validity period
    0x63: ("ESME_RINVDFTMSGID", _PERMANENT, _C.REFUSED),  # predefined message invalid or not found
    0x64: ("ESME_RX_T_APPN", _GAVE_UP, _C.UNREACHABLE),  # receiver temporary application error
    0x65: ("ESME_RX_P_APPN", _PERMANENT, _C.REFUSED),  # receiver permanent application error
    0x66: ("ESME_RX_R_APPN", _PERMANENT, _C.REFUSED),  # receiver reject message error
    0x67: ("ESME_RQUERYFAIL", _PERMANENT, _C.REFUSED),  # query_sm failed
    0xC0: ("ESME_RINVOPTPARSTREAM", _PERMANENT, _C.REFUSED),  # error in the optional part of the PDU
    0xC1: ("ESME_ROPTPARNOTALLWD", _PERMANENT, _C.REFUSED),  # optional parameter not allowed
    0xC2: ("ESME_RINVPARLEN", _PERMANENT, _C.REFUSED),  # invalid parameter length
    0xC3: ("ESME_RMISSINGOPTPARAM", _PERMANENT, _C.REFUSED),  # expected optional parameter missing
    0xC4: ("ESME_RINVOPTPARAMVAL", _PERMANENT, _C.REFUSED),  # invalid optional parameter value
    # SMPP 5.0 section 4.7.6 adds the following, and some for broadcasting, which is not what is done here.
    0x100: ("ESME_RSERTYPUNAUTH", _PERMANENT, _C.REFUSED),  # not authorized to use the service type
    0x101: ("ESME_RPROHIBITED", _PERMANENT, _C.REFUSED),  # prohibited from using the operation
    0x102: ("ESME_RSERTYPUNAVAIL", _GAVE_UP, _C.UNREACHABLE),  # service type is unavailable
    0x103: ("ESME_RSERTYPDENIED", _PERMANENT, _C.REFUSED),  # service type is denied
    0x104: ("ESME_RINVDCS", _PERMANENT, _C.REFUSED),  # invalid data coding scheme
    0x105: ("ESME_RINVSRCADDRSUBUNIT", _PERMANENT, _C.REFUSED),  # source address sub unit is invalid
    0x106: ("ESME_RINVDSTADDRSUBUNIT", _PERMANENT, _C.USER_UNKNOWN),  # destination address sub unit is invalid
    0xFE: ("ESME_RDELIVERYFAILURE", _PERMANENT, _C.UNREACHABLE),  # delivery failure
    0xFF: ("ESME_RUNKNOWNERR", _GAVE_UP, _C.UNDEFINED),  # unknown error
}

# A code inside a text: not a piece of a longer dotted number such as an IP address, nor of a name or a path. Linear.
_ENHANCED_IN_TEXT = re.compile(r"(?<![0-9A-Za-z./])[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")
# What is the version of a server: the servers whose version may look like a code.
_VERSION = re.compile(
    r"(?:version|release|ver\.?|exim|postfix|opensmtpd|hmailserver|haraka|dovecot|pigeonhole|amavisd?-new|powermta|rspamd)"
    r"[ (:v]{1,2}$",
    re.IGNORECASE,
)
_JOINS = " (:vV"
_LONGEST_NAME = 14
# The second digit is 0 to 5 (RFC 5321), or 7 in use ("571 blocked"): 465 and 587 are ports.
_REPLY_IN_TEXT = re.compile(r"(?:^|[\s;:(\[#])([245][0-57]\d)(?=[\s\-.;:,)\]]|$)")
# Codes stand at the front; what a server quotes further on may be another server's.
_FRONT = 300


def enhanced_code_in(text: str | None) -> str | None:
    """Find the enhanced status code in a diagnostic text ("smtp; 550 5.1.1 user unknown" -> "5.1.1")."""
    match = _ENHANCED_IN_TEXT.search(text, 0, _FRONT) if text else None
    while match is not None and text is not None:
        start = match.start()
        before = text[max(0, start - _LONGEST_NAME) : start]
        # Most often no name of anything stands before it: then there is nothing to search.
        if not before.rstrip(_JOINS)[-1:].strip("0123456789<;-#") or not _VERSION.search(before):
            return match[0]
        match = _ENHANCED_IN_TEXT.search(text, match.end(), _FRONT)
    return None


def reply_code_in(text: str | None) -> str | None:
    """Find the SMTP reply code in a diagnostic text ("smtp; 550 5.1.1 user unknown" -> "550")."""
    match = _REPLY_IN_TEXT.search(text, 0, _FRONT) if text else None
    return match[1] if match else None


def telling_code(told: str | None, text: str | None) -> str | None:
    """Return the more specific of the reported enhanced code and the one in the server's text."""
    if told is not None and not told.endswith(".0.0"):
        return told
    in_text = enhanced_code_in(text)
    return in_text if in_text is not None and (told is None or told == f"{in_text[0]}.0.0") else told


#: Reply codes that name a group of reasons, or are used for all of them: words that are known say which it is.
_VAGUE = frozenset({"421", "450", "451", "452", "550", "551", "552", "553", "554"})


def category_of(enhanced_code: str | None, reply_code: str | None, text: str | None = None) -> Category:
    """Return the category of codes and text, else UNDEFINED.

    Where they disagree (docs/reasons.md has the evidence): words that say plainly what is wrong win over the enhanced
    code, for servers write 5.1.1 and 5.7.1 for anything; but for the codes that only an agent that knows writes. Then
    the enhanced code, unless the text is known to belong to another sense of it; then the reply code, or where that is
    vague the text; then the text. Without a text the codes alone decide.
    """
    if enhanced_code is not None:
        _, subject, detail = enhanced_code.split(".")
        plain = plain_category_of(text) if f"{subject}.{detail}" not in WRITTEN_BY_WHO_KNOWS else None
        found = correction_of(enhanced_code, text) if text else None
        found = plain or found or ENHANCED.get(f"{subject}.{detail}") or ENHANCED_SUBJECT.get(subject)
        if found is not None and found is not Category.UNDEFINED:
            return found
    found = REPLY.get(reply_code or "", Category.UNDEFINED)
    if found is Category.UNDEFINED or reply_code in _VAGUE:
        told = category_of_text(text)
        return found if told is Category.UNDEFINED else told
    return found


def permanence_of(enhanced_code: str | None, label: Permanence) -> Permanence:
    """Return how final an ended delivery is: the class digit of an enhanced code wins over the provider's label.

    4.x.x says that the condition was temporary, so whoever ended the delivery gave up; so does x.4.7, "delivery time
    expired", which is widely sent as 5.4.7 (RFC 3463 section 3.5). Every other 5.x.x is permanent. Reply codes do not
    count: servers send 550 for temporary conditions and 4xx for final ones too freely.
    """
    if enhanced_code is None:
        return label
    if enhanced_code.startswith("4") or enhanced_code.endswith(".4.7"):
        return Permanence.GAVE_UP
    return Permanence.PERMANENT if enhanced_code.startswith("5") else label


def qualify(  # noqa: PLR0913 - each is a place where a provider may say it
    label: Permanence | None,
    *,
    own: Category | None = None,
    enhanced_code: str | None = None,
    reply_code: str | None = None,
    row: tuple[Permanence, Category] | None = None,
    text: str | None = None,
    otherwise: Category | None = None,
    label_stays: bool = False,
) -> tuple[Permanence | None, Category]:
    """Return how final a failure is and of what kind, from all that a provider said. What no rule covers is UNDEFINED.

    Every adapter asks this of each failure and of each attempt that failed; none decides in an order of its own.

    Args:
        label: what the native status says. TRANSIENT stays, for only the status knows whether it is still trying; so
            does None, of what was never sent.
        own: the provider's own classification. It comes first.
        enhanced_code: then this, and it wins over the label (`permanence_of`).
        reply_code: then this.
        row: then the row of a table of codes: SMPP, GSM/MAP, or the provider's own numbers.
        text: then what the text tells in known words (`phrases`).
        otherwise: what the native status alone stands for; the last, where nothing else tells anything.
        label_stays: whether no code changes the label: a delivery that expired was given up on, whatever its last
            attempt was told.
    """
    permanence = label
    if label is not None and label is not Permanence.TRANSIENT and not label_stays:
        permanence = permanence_of(enhanced_code, row[0] if row is not None else label)
    if own is not None and own is not Category.UNDEFINED:
        return permanence, own
    category = category_of(enhanced_code, reply_code, text if row is None else None)
    if category is Category.UNDEFINED and row is not None:
        category = row[1] if row[1] is not Category.UNDEFINED else category_of_text(text)
    return permanence, otherwise if category is Category.UNDEFINED and otherwise is not None else category


def qualify_by_code(
    means: Means,
    row: tuple[Permanence, Category] | None,
    text: str | None = None,
    *,
    label_stays: bool = False,
) -> tuple[Permanence | None, Category]:
    """Qualify a failure whose provider has a table of codes: the code's row, else what the native status stands for.

    Args:
        means: the native status's row.
        row: the code's row; None where there is no code, or none that is known.
        text: as of `qualify`.
        label_stays: as of `qualify`.
    """
    own = means.category if row is None else None
    return qualify(means.permanence, own=own, row=row, text=text, otherwise=means.category, label_stays=label_stays)
