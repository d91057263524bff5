"""What those who may not see recipients are shown instead."""

import re
import string
import sys
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.views.messages import message_view
from processor.web.masking import addresses, known, mask_id, mask_native_id, mask_recipient, mask_text, numbers, reading
from processor.web.masking.views import mask_message
from tests.cases import every_case
from tests.web.workers import rows

BULLET = "\N{BULLET}"
#: `+46 70 123 45 12`, masked.
NUMBER = f"467{BULLET * 6}12"


class TestRecipients:
    @pytest.mark.parametrize(
        ("recipient", "masked"),
        [
            ("user@example.com", "u***@example.com"),
            ("u@example.com", "***@example.com"),
            ("a@b@example.com", "a***@example.com"),
            ("Ulla Bengtsson <ulla@example.com>", "u***@example.com"),
            ('"Bengtsson, Ulla" <ulla@example.com>', "u***@example.com"),
            ("ulla%40example.com", "u***@example.com"),
            ('"ulla b"@example.com', "u***@example.com"),
            ("žofie@exämple.com", "ž***@exämple.com"),
            ("ulla@[192.0.2.1]", "u***@[192.0.2.1]"),
            ("ulla@[IPv6:2001:db8::1]", "u***@[IPv6:2001:db8::1]"),
            ("<@relay.example,@b.example:ulla@final.example>", "u***@final.example"),
            ("46701234512@sms.example.com", "4***@sms.example.com"),
            ("+46701234512", f"+{NUMBER}"),
            ("46701234512", NUMBER),
            ("0046701234512", f"004{BULLET * 8}12"),
            ("tel:+46-70-1234512;ext=7", f"tel:+{NUMBER}"),
            ("070-123 45 12", f"070{BULLET * 5}12"),
            ("٤٦٧٠١٢٣٤٥١٢", NUMBER),
            ("+123", f"+{BULLET * 3}"),
            ("handset-token", "h***"),
            ("x", "***"),
            ("", "***"),
        ],
    )
    def test_are_shown_so_that_who_knows_one_recognises_it(self, recipient, masked):
        assert mask_recipient(recipient) == masked


ADDRESSES = [
    ("550 5.1.1 <ulla@example.com>: no such user", "550 5.1.1 <u***@example.com>: no such user"),
    ("sent from a.b@x.org to c@y.org", "sent from a***@x.org to ***@y.org"),
    ("ulla+news@example.com,anna@example.com", "u***@example.com,a***@example.com"),
    ("o'brien@example.com", "o***@example.com"),
    ("'ulla@example.com'", "'u***@example.com'"),
    ("ulla@localhost", "u***@localhost"),
    # Escaped in the way of a URL, of HTML and of JSON, also more than once.
    ("to ulla%40example.com", "to u***%40example.com"),
    ("to ulla%2540example.com", "to u***%2540example.com"),
    ("https://x.example/u?email=ulla%40example.com&x=1", "https://x.example/u?email=u***%40example.com&x=1"),
    ("mailto:ulla@example.com?subject=x", "mailto:u***@example.com?subject=x"),
    ("ulla&#64;example.com", "u***&#64;example.com"),
    ("ulla&#x40;example.com", "u***&#x40;example.com"),
    ("ulla&amp;commat;example.com", "u***&amp;commat;example.com"),
    ('{"to":"ulla\\u0040example.com"}', '{"to":"u***\\u0040example.com"}'),
    (r"\"ulla b\"@example.com", "u***@example.com"),
    ("%C3%A5sa%40example.com", "å***%40example.com"),
    # In quotes, with a domain that is an address, by way of others.
    ('"ulla b"@example.com', "u***@example.com"),
    (r'"ulla \"b\" c"@example.com', "u***@example.com"),
    ('first."last name"@example.com', "f***@example.com"),
    ("ulla@[192.0.2.1]", "u***@[192.0.2.1]"),
    ("ulla@[IPv6:2001:db8::1]", "u***@[IPv6:2001:db8::1]"),
    ("<@relay.example,@b.example:ulla@final.example>", "<@relay.example,@b.example:u***@final.example>"),
    ("ulla%final.example@relay.example", "u***@relay.example"),
    ("bounce+ulla=example.com@relay.example", "b***@relay.example"),
    ("rcpt=ulla@example.com", "rcpt=u***@example.com"),
    # In any script.
    ("žofie@exämple.com", "ž***@exämple.com"),
    ("用户@例え.jp", "用***@例え.jp"),
    ("ulla@xn--exmple-cua.com", "u***@xn--exmple-cua.com"),
    ("ulla\N{FULLWIDTH COMMERCIAL AT}example.com", "u***\N{FULLWIDTH COMMERCIAL AT}example.com"),
    ("ul\N{ZERO WIDTH SPACE}l\N{SOFT HYPHEN}a@example.com", "u***@example.com"),
    ("ulla @ example.com", "u*** @ example.com"),
    # With a name.
    ("Ulla Bengtsson <ulla@example.com>", "*** <u***@example.com>"),
    ("to Ludwig van Beethoven <l@example.com>", "to *** <***@example.com>"),
    ('"Bengtsson, Ulla" <ulla@example.com>', "*** <u***@example.com>"),
    ("=?utf-8?Q?Ulla?= <x.y@example.com>", "*** <x***@example.com>"),
    ("ulla@example.com (Ulla Bengtsson)", "u***@example.com (***)"),
    # Cut, so that nobody can tell what it was.
    ("no such user ulla.beng\N{HORIZONTAL ELLIPSIS}", "no such user ***\N{HORIZONTAL ELLIPSIS}"),
    ("no such user <ulla@exam\N{HORIZONTAL ELLIPSIS}", "no such user <u***@exam\N{HORIZONTAL ELLIPSIS}"),
]

NUMBERS = [
    ("no handset at +46701234512.", f"no handset at +{NUMBER}."),
    ("no handset at 46701234512", f"no handset at {NUMBER}"),
    ("no handset at 0046 70 123 45 12", f"no handset at 004{BULLET * 8}12"),
    ("+46 70-123 45 12, +46.70.1234512", f"+{NUMBER}, +{NUMBER}"),
    ("+46 (0)70-123 45 12", f"+460{BULLET * 7}12"),
    ("(212) 555-1234", f"(212{BULLET * 5}34"),
    ("070-123 45 12", f"070{BULLET * 5}12"),
    ("12 34 56 78", f"123{BULLET * 3}78"),
    ("tel:+46-70-1234512;ext=1", f"tel:+{NUMBER};ext=1"),
    ("tel:12345, msisdn=12345", f"tel:{BULLET * 5}, msisdn={BULLET * 5}"),
    ("to46701234512", f"to{NUMBER}"),
    ("550 46701234512 unknown", f"550 {NUMBER} unknown"),
    ("Error 21610: to +46701234512", f"Error 21610: to +{NUMBER}"),
    ("30003 0701234512", f"30003 070{BULLET * 5}12"),
    ("0701234512,0701234512", f"070{BULLET * 5}12,070{BULLET * 5}12"),
    # Escaped, in other digits, with what cannot be seen, across lines.
    ("%2B46701234512", f"+{NUMBER}"),
    ("%2B46%2070%20123%2045%2012", f"+{NUMBER}"),
    ("&#43;46&nbsp;70&nbsp;1234512", f"+{NUMBER}"),
    ("&#52;&#54;701234512", NUMBER),
    ('{"to":"\\u002b46701234512"}', f'{{"to":"+{NUMBER}"}}'),
    (r"at\n46701234512", rf"at\n{NUMBER}"),
    ("\uff14\uff16\uff17\uff10\uff11\uff12\uff13\uff14\uff15\uff11\uff12", NUMBER),
    ("٤٦٧٠١٢٣٤٥١٢", NUMBER),
    ("४६७०१२३४५१२", NUMBER),
    ("46\N{ZERO WIDTH SPACE}70\N{SOFT HYPHEN}1234512", NUMBER),
    ("46\N{NO-BREAK SPACE}70\N{NON-BREAKING HYPHEN}123\N{EN DASH}4512", NUMBER),
    ("46701-\r\n\t234512", NUMBER),
    ("467012=\n34512", NUMBER),
]

READABLE = [
    "",
    "nothing to see",
    "550 5.1.1 unknown user",
    "550-5.7.26 unauthenticated",
    "smtp; 421 4.7.0 [TSS04] from 203.0.113.5 deferred - 4.16.55.1",
    "SMPP error 0x0000000B (11)",
    "code 30003, 1234567 bytes",
    "2026-11-24T06:00:00.123456+01:00",
    "550 2026-11-24 06:00:00 +0100",
    "24/11/2026 06:00, 20261124060000, 20261124T060000Z, 1764288000123",
    "submit date:2611240600 done date:2611240601 stat:DELIVRD err:000 id:1234567890",
    "partition 3, offset 12345678901",
    "connect to 192.0.2.10:2525, [2001:0db8:85a3:0000:0000:8a2e:0370:7334]:25",
    "after 0.123456789 of 12345.678 s",
    "SM9f86d081884c7d659a2feaa0c55ad015",
    "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "19421777835146490",
    "m-000001 order-12345678 DM1042",
    "queued as 4F5C11234567",
    "1,234,567 of 12 345",
    "User unknown, it costs 5 @ 10",
    "expected `str`, got `int` - at `$.recipient` (line 12 column 1234567)",
]


class TestTexts:
    @pytest.mark.parametrize(("text", "masked"), ADDRESSES)
    def test_addresses(self, text, masked):
        assert mask_text(text) == masked

    @pytest.mark.parametrize(("text", "masked"), NUMBERS)
    def test_numbers(self, text, masked):
        assert mask_text(text) == masked

    @pytest.mark.parametrize("text", READABLE)
    def test_what_is_no_recipient_stays_readable(self, text):
        assert mask_text(text) == text

    @pytest.mark.parametrize("words", ["User unknown", "No Such User", "Recipient", "550 5.1.1 Mailbox"])
    def test_what_mail_servers_say_is_no_name(self, words):
        assert mask_text(f"{words} <ulla@example.com>") == f"{words} <u***@example.com>"

    def test_what_is_masked_stays_so(self):
        with every_case() as case:
            for text in [text for text, _ in [*ADDRESSES, *NUMBERS]] + READABLE:
                with case(text):
                    assert mask_text(mask_text(text)) == mask_text(text)


class TestTextsOfAKnownRecipient:
    @pytest.mark.parametrize(
        ("text", "recipient", "masked"),
        [
            ("unknown: root@localhost!", "root@localhost", "unknown: r***@localhost!"),
            ("no such user ulla.b", "Ulla.B@example.com", "no such user u***"),
            ("no such user ulla.b", "Ulla <ulla.b+news@example.com>", "no such user u***"),
            ("550 user unknown", "user@example.com", "550 user unknown"),
            ("to ul\r\n la.b@example.com", "ulla.b@example.com", "to u***@example.com"),
            ("to ulla.b@exa\n mple.com", "ulla.b@example.com", "to u***@exa\n mple.com"),
            ("no such user ulla.be", "ulla.bengtsson@example.com", "no such user u***"),
            ("code 701234512 at 12:30:45", "+46701234512", f"code 701{BULLET * 4}12 at 12:30:45"),
            ("5.1.1 offset 46701234512", "+46 70 123 45 12", f"5.1.1 offset {NUMBER}"),
            ("no 70:123:45:12", "46701234512", f"no 701{BULLET * 4}12"),
            ("short 12345", "12345", f"short {BULLET * 5}"),
            ("token abc-def is gone", "abc-def", "token a*** is gone"),
            ("nothing to see", "user@example.com", "nothing to see"),
        ],
    )
    def test_it_is_known_in_any_form(self, text, recipient, masked):
        assert mask_text(text, recipient) == masked

    @given(
        st.text("0123456789", min_size=8, max_size=15).filter(lambda digits: not digits.startswith("0000")),
        st.lists(
            st.sampled_from(["", " ", "-", ".", "/", ") ", "\n", "\u00a0", "\u200b", ":"]), min_size=15, max_size=15
        ),
        st.sampled_from([str, lambda text: text.translate(str.maketrans(string.digits, "٠١٢٣٤٥٦٧٨٩")), quote]),
        st.sampled_from(["{}", "code {}", "offset {} x", "5.1.1 {}", "a{}b", "1,{},2", "<{}>", "id:{}"]),
    )
    def test_no_six_digits_of_a_number_survive(self, digits, gaps, form, frame):
        told = form("".join([digit + gap for digit, gap in zip(digits, gaps, strict=False)]))
        masked = mask_text(frame.format(told), f"+{digits}")
        left = "".join(
            re.findall(r"\d", reading.read(masked).plain.replace(BULLET, "x") if BULLET not in masked else "")
        )
        assert all(digits[at : at + 6] not in left for at in range(len(digits) - 5)) or BULLET in masked
        assert all(digits[at : at + 6] not in masked for at in range(len(digits) - 5))

    @given(
        st.text(string.ascii_lowercase + string.digits + ".+_åж", min_size=3, max_size=20),
        st.sampled_from(["{}@example.com", "<{}@example.com>", "{}%40example.com", "{}&#64;example.com", "x {} y"]),
    )
    def test_no_local_part_survives(self, local, frame):
        if local in known.MAIL_WORDS or not any(char.isalnum() for char in local):
            return
        masked = mask_text(frame.format(local), f"{local}@example.com")
        assert local not in masked.replace("example.com", "")


class TestIds:
    @pytest.mark.parametrize(
        ("message_id", "masked"),
        [
            ("ses:1d98:user@example.com", "ses:1d98:u***@example.com"),
            ("ses:1d98:user%40example.com", "ses:1d98:u***%40example.com"),
            ("ses:1d98:user@[IPv6:2001:db8::1]", "ses:1d98:u***@[IPv6:2001:db8::1]"),
            ('ses:1d98:"a b"@example.com', "ses:1d98:a***@example.com"),
            ("smpp:1d98:46701234512", f"smpp:1d98:{NUMBER}"),
            (
                "twilio:SM9f86d081884c7d659a2feaa0c55ad015:+46701234512",
                f"twilio:SM9f86d081884c7d659a2feaa0c55ad015:+{NUMBER}",
            ),
            ("m-1:46701234512", f"m-1:{NUMBER}"),
            ("m-1:+46701234512", f"m-1:+{NUMBER}"),
            ("m-1:user@example.com", "m-1:u***@example.com"),
            ("46701234512", NUMBER),
            (
                "mailgun:20130503182626.18666.16540@host.example:user@example.com",
                "mailgun:20130503182626.18666.16540@host.example:u***@example.com",
            ),
            ("mailgun:<id>@host:user@example.com", "mailgun:<id>@host:u***@example.com"),
        ],
    )
    def test_recipients(self, message_id, masked):
        assert mask_id(message_id) == masked

    @pytest.mark.parametrize(
        "message_id",
        [
            "m-000001",
            "kannel:1234567890",
            "twilio:46701234512",
            "mailjet:19421777835146490",
            "kumomta:1d98/07 6a?#%2F&",
            "campaign-2026-11-24-000123",
            "msg-0000000123",
            "123456789",
            "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            "sendgrid:14c5d75ce93.dfd.64b469@ismtpd-555",
        ],
    )
    def test_what_is_an_id_only(self, message_id):
        assert mask_id(message_id) == message_id

    def test_a_known_recipient_is_found_in_any(self):
        assert mask_id("twilio:46701234512", "+46701234512") == f"twilio:{NUMBER}"
        assert mask_native_id("46701234512", "+46701234512") == NUMBER
        assert mask_native_id("SM1:+46701234512") == f"SM1:+{NUMBER}"


class TestMessages:
    @pytest.mark.parametrize(
        ("recipient", "quoted"),
        [
            ("ulla.b@example.com", "Ulla.B@example.com"),
            ("+46701234512", "0046 70 123 45 12"),
            ("+46701234512", "0701234512"),
        ],
    )
    def test_no_field_of_a_message_shows_its_recipient(self, recipient, quoted):
        shown = message_view("m-1", rows()[b"m-1"])
        reason = msgspec.structs.replace(shown.reason, code=quoted, provider_code=f"x {quoted}", text=f"no {quoted}!")
        view = msgspec.structs.replace(
            shown,
            message_id=f"twilio:SM1:{recipient}",
            provider_message_id=f"SM1:{recipient}",
            recipient=recipient,
            reason=reason,
        )
        masked = msgspec.json.encode(mask_message(view)).decode()
        assert "ulla" not in masked.lower()
        assert "234512" not in re.sub(r"[ -]", "", masked)
        assert (BULLET in masked) is (recipient[0] == "+")


# Any text, and long ones

PATTERNS = [
    *("a", "1", "@", "a@", '"@', '\\"@', "%25", "&amp;", "\\", "\\u00", "1 ", "(1", "a1", "5.1.", " ", "+", "<", "Aa "),
    *("A <a@x ", "1:1", "2026-", '".', "\u0661", "\x1b", "=\n", "a.", "1.1.1.1", "x=", "//", "a@b (A ", "\\ud835"),
    *("%C3", "1_", "tel:1", "\u2026"),
]


class TestAnyText:
    @given(st.text(), st.one_of(st.none(), st.text(max_size=40)))
    def test_is_taken(self, text, recipient):
        for masked in (
            mask_text(text, recipient),
            mask_id(text, recipient),
            mask_native_id(text),
            mask_recipient(text),
        ):
            assert isinstance(masked, str)

    @pytest.mark.parametrize("pattern", PATTERNS)
    @pytest.mark.parametrize("recipient", [None, "a.a@x", "1111111111"])
    def test_takes_steps_in_proportion_to_its_length(self, pattern, recipient):
        """Steps of Python; those within the regular expressions are bounded by their form, below."""
        few = _steps(pattern * 20, recipient)
        many = _steps(pattern * 200, recipient)
        assert many < 14 * few

    @pytest.mark.parametrize(
        "pattern",
        [
            value
            for module in (addresses, known, numbers, reading)
            for value in vars(module).values()
            if isinstance(value, re.Pattern)
        ],
        ids=lambda pattern: pattern.pattern.strip()[:30],
    )
    def test_expressions_repeat_without_a_bound_at_their_end_only(self, pattern):
        """Then each attempt costs a bounded number of steps, or as many as it consumes: it cannot fail any more."""
        assert list(_unbounded(_parse(pattern), is_last=True)) == []


def _steps(text: str, recipient: str | None) -> int:
    steps = 0

    def trace(_frame, event, _argument):
        nonlocal steps
        steps += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        mask_text(text, recipient)
    finally:
        sys.settrace(before)
    return steps


def _parse(pattern):
    try:
        from re import _parser as parser
    except ImportError:
        import sre_parse as parser
    return parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)


def _unbounded(parsed, *, is_last):
    """Give what repeats without a bound, and can still fail after it, or holds another such."""
    last = len(parsed) - 1
    for index, (kind, value) in enumerate(parsed):
        ends, name = is_last and index == last, str(kind)
        if name in {"MAX_REPEAT", "MIN_REPEAT"}:
            _, most, body = value
            if most > 1_000:
                if not ends:
                    yield body
                yield from _unbounded(body, is_last=False)
            else:
                yield from _unbounded(body, is_last=ends and most == 1)
        elif name == "BRANCH":
            for body in value[1]:
                yield from _unbounded(body, is_last=ends)
        elif name == "SUBPATTERN":
            yield from _unbounded(value[-1], is_last=ends)
        elif name in {"ASSERT", "ASSERT_NOT"}:
            yield from _unbounded(value[1], is_last=True)
