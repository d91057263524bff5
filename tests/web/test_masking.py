"""What those who may not see recipients are shown instead."""

import pytest

from processor.web.masking import mask_id, mask_recipient, mask_text

BULLET = "\N{BULLET}"


class TestMasks:
    @pytest.mark.parametrize(
        ("recipient", "masked"),
        [
            ("user@example.com", "u***@example.com"),
            ("u@example.com", "***@example.com"),
            ("a@b@example.com", "a***@example.com"),
            ("+46701234512", f"+467{BULLET * 6}12"),
            ("46701234512", f"467{BULLET * 6}12"),
            ("070-123 45 12", f"070{BULLET * 5}12"),
            ("+123", f"+{BULLET * 3}"),
            ("handset-token", "h***"),
            ("x", "***"),
        ],
    )
    def test_recipients(self, recipient, masked):
        assert mask_recipient(recipient) == masked

    @pytest.mark.parametrize(
        ("text", "recipient", "masked"),
        [
            ("550 <User@Example.com> unknown", "user@example.com", "550 <U***@Example.com> unknown"),
            ("unknown: root@localhost!", "root@localhost", "unknown: r***@localhost!"),
            ("sent from a.b@x.org to c@y.org", None, "sent from a***@x.org to ***@y.org"),
            ("no handset at 0701234512", "+46701234512", f"no handset at 070{BULLET * 5}12"),
            ("no handset at +46 70 123 45 12.", "+46701234512", f"no handset at +467{BULLET * 6}12."),
            ("code 30003, 1234567 bytes", "+46701234512", "code 30003, 1234567 bytes"),
            ("token abc-def is gone", "abc-def", "token a*** is gone"),
            ("nothing to see", "user@example.com", "nothing to see"),
            ("", None, ""),
        ],
    )
    def test_texts(self, text, recipient, masked):
        assert mask_text(text, recipient) == masked

    @pytest.mark.parametrize(
        ("message_id", "masked"),
        [
            ("ses:1d98:user@example.com", "ses:1d98:u***@example.com"),
            ("smpp:1d98:46701234512", f"smpp:1d98:467{BULLET * 6}12"),
            ("twilio:46701234512", "twilio:46701234512"),
            ("order:1:46701234512", "order:1:46701234512"),
            ("m-000001", "m-000001"),
        ],
    )
    def test_ids(self, message_id, masked):
        assert mask_id(message_id) == masked

    def test_what_is_masked_stays_so(self):
        text = "550 <u.b@example.com>"
        assert mask_text(mask_text(text)) == mask_text(text)
