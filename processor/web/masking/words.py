"""Words that texts about mail are made of: none of them is a person's name, or the name of a mailbox worth hiding."""

from __future__ import annotations

_MAIL = """
    a abuse access account action address addressee admin again and at available bad be blocked bounce bounced box by
    cannot closed command contact could daemon data delivered delivery denied destination disabled does domain email
    error exceeded exist expired failed failure filter final following for forward forwarded found from full group
    handset has here host id in inactive info invalid is it limit list local mail mailbox mailer mailto message
    message-id msisdn my no none noreply not number of on only or original out over over-quota owner permanent policy
    postmaster problem queue quota read rcpt recipient recipients refused rejected relay relaying reply reply-to report
    requested returned root sales said see sender sent server service smtp spam status such support system temporary
    test that the this to too try unable unavailable undeliverable undelivered unknown unreachable unrouteable user
    username users via was webmaster with your
"""
MAIL_WORDS = frozenset(_MAIL.split())

#: What stands before an equals sign that is no part of an address: `rcpt=user@example.com`.
_FIELDS = "address addr email from mail mailbox orig_to originalrecipient rcpt rcpt_to recipient sender to user"
FIELD_NAMES = frozenset(_FIELDS.split())

#: What stands in lower case within names.
_PARTICLES = "af al av bin da de del den der di dos du el la le och ter van von"
PARTICLES = frozenset(_PARTICLES.split())
