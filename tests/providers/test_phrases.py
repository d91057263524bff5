"""Words of mailbox providers, mail servers and gateways lead to the kind of reason that they mean."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.reason import Category
from processor.domain.status import Permanence
from processor.providers.phrases import MISLEADING, PHRASES, category_of_text
from processor.providers.reasons import category_of, enhanced_code_in, qualify, reply_code_in
from tests.providers.conftest import NEVER, TIMES

# ruff: noqa: E501 - answers stay in one piece

#: What servers answer, as it travels in diagnostic texts; the codes in it are read as adapters read them.
ANSWERS = [
    # Gmail
    (
        "smtp; 550-5.1.1 The email account that you tried to reach does not exist. Please try 550-5.1.1 double-checking the recipient's email address - gsmtp",
        "user_unknown",
    ),
    (
        "550 The email account that you tried to reach does\n550-not exist. https://support.google.com/mail/?p=NoSuchUser",
        "user_unknown",
    ),
    ("452-4.2.2 The recipient's inbox is out of storage space. Please direct the recipient to", "mailbox_full"),
    ("552 The email account that you tried to reach is over quota. - gsmtp", "mailbox_full"),
    ("550-5.2.1 The email account that you tried to reach is disabled. - gsmtp", "account_disabled"),
    ("450-4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional", "refused"),
    ("421-4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP", "refused"),
    ("550-5.7.26 This mail is unauthenticated, which poses a security risk", "refused"),
    # Japanese
    ("550 5.1.1 ...ユーザーが不明です {mx003}", "user_unknown"),
    ("554 <x@example.jp>は存在しません", "user_unknown"),
    ("554 5.7.1 宛先が見つかりません", "user_unknown"),
    ("User x (x@example.jp) は Domino ディレクトリには見つかりません。", "user_unknown"),
    ("552 5.2.2 受信者のメールボックスがいっぱいです。", "mailbox_full"),
    ("550 5.2.2 ユーザーの割り当て量を超えました", "mailbox_full"),
    (
        "550 5.7.1:受信者のアドレスが拒否されました:非アクティブなメールボックス。6か月以上入力されていません",
        "account_disabled",
    ),
    ("550 example.jp: ドメインが見つかりません", "invalid_domain"),
    ("554 受信者により受信拒否されました", "refused"),
    ("451 相手のサーバーに接続できません", "unreachable"),
    ("550 5.1.1 <spam迷惑@example.jp>: User unknown", "user_unknown"),
    # Outlook.com, Exchange Online
    ("550 5.4.310 DNS domain example.net does not exist [Message=InfoDomainNonexistent]", "invalid_domain"),
    ("550 5.4.310 DNS domain example.net does not exist", "invalid_domain"),
    ("550 5.6.7 DNS domain ''example.net'' does not exist", "invalid_domain"),
    ("DNS domain example.net does not exist", "invalid_domain"),
    ("550 5.7.1 SPF check failed: see the records of your DNS domain", "refused"),
    ("550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).", "user_unknown"),
    (
        "550 5.4.1 Recipient address rejected: Access denied. [AM1EUR02FT034.eop-EUR02.prod.protection.outlook.com]",
        "user_unknown",
    ),
    ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", "user_unknown"),
    (
        "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your ISP since part of their network is on our block list (S3150).",
        "refused",
    ),
    ("550 5.7.606 Access denied, banned sending IP [192.0.2.1]", "refused"),
    ("452 4.5.3 Too many recipients (AS780090)", "refused"),
    # Yahoo, AOL
    (
        "554 delivery error: dd This user doesn't have a yahoo.com account (x@yahoo.com) [0] - mta1.mail.gq1.yahoo.com",
        "user_unknown",
    ),
    (
        "554 delivery error: dd Sorry, your message to x@yahoo.de cannot be delivered. This mailbox is disabled (554.30).",
        "account_disabled",
    ),
    ("552 1 Requested mail action aborted, mailbox not found", "user_unknown"),
    (
        "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
        "refused",
    ),
    ("554 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes", "refused"),
    # Apple
    ("550 5.1.1 <x@icloud.com>: user does not exist", "user_unknown"),
    ("550 Blocked - see https://support.apple.com/en-us/HT204137", "refused"),
    ("552 5.2.2 <x@icloud.com>: user is over quota", "mailbox_full"),
    # GMX, Web.de, T-Online
    ("550 Requested action not taken: mailbox unavailable", "user_unknown"),
    (
        "550 Benutzer hat das Speichervolumen ueberschritten. / User has exhausted allowed storage space.",
        "mailbox_full",
    ),
    (
        "554-web.de (mxweb011) Nemesis ESMTP Service not available 554-No SMTP service 554-IP address is black listed.",
        "refused",
    ),
    (
        "554 IP=192.0.2.1 - A problem occurred. (Ask your postmaster for help or to contact tosa@rx.t-online.de to clarify.)",
        "refused",
    ),
    # Mail.ru, Yandex
    (
        "550 Message was not accepted -- invalid mailbox. Local mailbox x@mail.ru is unavailable: user not found",
        "user_unknown",
    ),
    (
        "550 Message was not accepted -- invalid mailbox. Local mailbox x@mail.ru is unavailable: account is disabled",
        "account_disabled",
    ),
    ("550 spam message rejected. Please visit http://help.mail.ru/notspam-support/id?c=1", "refused"),
    ("550 5.7.1 No such user!", "user_unknown"),
    ("554 5.7.1 [1] Message rejected under suspicion of SPAM; https://ya.cc/1IrBc", "refused"),
    # Orange, Free, La Poste
    (
        "421 mwinf5c16 ME Service refuse. Veuillez essayer plus tard. service refused, please try later. OFR004_104 [104]",
        "refused",
    ),
    ("550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR204_418 [418]", "user_unknown"),
    ("552 5.1.1 Boite du destinataire pleine. Recipient overquota. OFR_417 [417]", "mailbox_full"),
    ("550 5.2.0 Mail rejete. Mail rejected. OFR_506 [506]", "refused"),
    ("421 Too many spams from your IP (192.0.2.1), please visit http://postmaster.free.fr/", "refused"),
    ("550 This mailbox has been blocked due to inactivity (UserSearch)", "account_disabled"),
    # Comcast
    (
        "554 resimta-po-13v.sys.comcast.net comcast 192.0.2.1 found on one or more DNSBLs, see http://postmaster.comcast.net/smtp-error-codes.php#BL000001",
        "refused",
    ),
    ("550 5.1.1 Not our Customer", "user_unknown"),
    ("421 4.1.0 192.0.2.1 Throttled - RL000001", "refused"),
    # Filters and lists
    ("554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1", "refused"),
    (
        "550 Rejected by header based Anti-Spoofing policy: x@example.org - https://community.mimecast.com/docs/DOC-1369#550",
        "refused",
    ),
    ("550 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550 [ab12]", "user_unknown"),
    ("554 Service unavailable; Client host [192.0.2.1] blocked using Barracuda Reputation", "refused"),
    ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", "refused"),
    ("550 5.1.1 message blocked using Spamhaus", "refused"),
    # Postfix, Exim, qmail, Sendmail
    ("550 <x@example.org>: Recipient address rejected: User unknown in virtual mailbox table", "user_unknown"),
    ("connect to mx.example.org[192.0.2.1]:25: Connection timed out", "unreachable"),
    (
        "Host or domain name not found. Name service error for name=example.invalid type=MX: Host not found",
        "invalid_domain",
    ),
    ("554 5.4.4 Host or domain name not found", "invalid_domain"),
    ("550 Unrouteable address", "invalid_domain"),
    ("550 No such user here", "user_unknown"),
    ("Sorry, no mailbox here by that name.", "user_unknown"),
    ("451 Greylisted, please try again in 300 seconds", "unreachable"),
    ("450 4.2.0 <x@example.org>: Recipient address rejected: Greylisted", "unreachable"),
    ("552 message size exceeds fixed maximum message size", "refused"),
    ("554 Relay access denied", "refused"),
    # SMS
    ("Phone is currently unreachable/unavailable", "not_connected"),
    ("Unknown Subscriber", "user_unknown"),
    ("Absent subscriber for SM", "not_connected"),
    ("recipient opted out (STOP)", "denylisted"),
    # Nobody knows.
    ("550 x1", "user_unknown"),
    ("Beep", "undefined"),
    ("mail to spam@example.org", "undefined"),
    ("12 345", "undefined"),
    ("", "undefined"),
    ("550 Domain frequency limited [bad IP]", "refused"),
    ("550 Ip frequency limited", "refused"),
    ("550 permanent failure for one or more recipients (x@example.org:blocked)", "refused"),
    ("550 permanent failure for one or more recipients (x@example.org:550 User unknown)", "user_unknown"),
    ("452 disk full", "mailbox_full"),
    ("550 5.1.1 sender is blacklisted", "refused"),
]


@pytest.mark.parametrize(("text", "category"), ANSWERS)
def test_answer(text, category):
    assert category_of(enhanced_code_in(text), reply_code_in(text), text).value == category


def evidence():
    """Give the rows of the table of docs/reasons.md: an answer, what its code alone says, and its kind."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "reasons.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    return [(answer.strip("`"), by_code, kind, wins) for answer, by_code, kind, wins in rows]


@pytest.mark.parametrize(("answer", "by_code", "kind", "wins"), evidence())
def test_who_wins_when_code_and_text_disagree(answer, by_code, kind, wins):
    code = enhanced_code_in(answer)
    assert category_of(code, None).value == by_code
    assert category_of(code, reply_code_in(answer), answer).value == kind
    assert wins.startswith("words") == (by_code != kind)


@pytest.mark.parametrize("row", MISLEADING, ids=lambda row: f"{row.code} {row.phrase}")
def test_a_code_that_misleads_is_corrected_by_its_text(row):
    assert category_of(f"5.{row.code}", "550", f"550 5.{row.code} {row.phrase} (x)") is row.category
    assert category_of(f"5.{row.code}", "550", "Beep") is category_of(f"5.{row.code}", "550")


def test_every_phrase_can_be_found():
    # In lower case, without what is left out of a text, and not hidden behind an earlier one of another kind.
    for words in PHRASES:
        assert words.category is not Category.UNDEFINED
        for phrase in words.any_of:
            assert phrase == phrase.lower()
            assert (
                category_of_text(f"x {phrase}y" if not phrase.endswith(" ") else f"x {phrase} y")
                is not Category.UNDEFINED
            ), phrase


def test_no_phrase_stands_twice():
    phrases = [phrase for words in PHRASES for phrase in words.any_of]
    assert sorted(set(phrases)) == sorted(phrases)


@given(st.text(alphabet="ab @.\n5-", max_size=2_000))
def test_looking_for_phrases_takes_no_more_than_the_length_of_the_text(text):
    started = time.process_time()
    category_of_text(text * TIMES)
    assert time.process_time() - started < NEVER


G, P, T = Permanence.GAVE_UP, Permanence.PERMANENT, Permanence.TRANSIENT
C = Category


@pytest.mark.parametrize(
    ("label", "told", "expected"),
    [
        # The provider's own classification comes first, then each of the others in its place.
        (P, {"own": C.DENYLISTED, "enhanced_code": "5.1.1", "reply_code": "552", "text": "spam"}, (P, C.DENYLISTED)),
        (P, {"own": C.UNDEFINED, "enhanced_code": "5.1.1", "row": (G, C.NOT_CONNECTED)}, (P, C.USER_UNKNOWN)),
        (P, {"enhanced_code": "5.0.0", "reply_code": "556", "row": (G, C.NOT_CONNECTED)}, (P, C.INVALID_DOMAIN)),
        (P, {"row": (G, C.NOT_CONNECTED), "text": "spam"}, (G, C.NOT_CONNECTED)),
        (P, {"row": (G, C.UNDEFINED), "text": "spam"}, (G, C.REFUSED)),
        (P, {"text": "spam"}, (P, C.REFUSED)),
        (G, {}, (G, C.UNDEFINED)),
        # The class digit of an enhanced code wins over the label, and nothing over "still trying".
        (P, {"enhanced_code": "4.2.2"}, (G, C.MAILBOX_FULL)),
        (P, {"enhanced_code": "5.4.7"}, (G, C.UNREACHABLE)),
        (G, {"enhanced_code": "5.1.1"}, (P, C.USER_UNKNOWN)),
        (T, {"enhanced_code": "5.2.2", "row": (P, C.REFUSED)}, (T, C.MAILBOX_FULL)),
        (T, {"reply_code": "552", "text": "Mailbox full"}, (T, C.MAILBOX_FULL)),
    ],
)
def test_the_order_in_which_a_reason_is_sought(label, told, expected):
    assert qualify(label, **told) == expected
