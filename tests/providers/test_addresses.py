"""Addresses in the forms in which they are compared."""

import pytest

from processor.providers.addresses import bare_address, comparable_address


@pytest.mark.parametrize(
    ("recipient", "bare"),
    [
        ("Anna@Example.org", "anna@example.org"),
        ("Anna <Anna@Example.org>", "anna@example.org"),
        ('"a <b>" <anna@example.org>', "anna@example.org"),
        ("<anna@example.org>", "anna@example.org"),
        ("odd>", "odd>"),
    ],
)
def test_recipients_are_told_apart_by_their_bare_address(recipient, bare):
    assert bare_address(recipient) == bare


class TestAddressesAreComparedAsPeopleWriteThem:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("ulla@example.com", "Ulla@Example.COM"),
            ("ulla@example.com", "Ulla Bengtsson <ulla@example.com>"),
            ("ulla@example.com", " ulla @example.com"),
            ("åsa@example.com", "ÅSA@example.com"),
            ("+46701234512", "46701234512"),
            ("+46701234512", "0046701234512"),
            ("+46701234512", "+46 70-123 45 12"),
            ("+46701234512", "+46 (70) 123.45.12"),
            ("+46701234512", "tel:+46-70-1234512"),
            ("handset-token", "Handset-Token"),
        ],
    )
    def test_the_same(self, one, other):
        assert comparable_address(one) == comparable_address(other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("a-b@example.com", "ab@example.com"),
            ("ulla@example.com", "ulla+news@example.com"),
            ("0701234512", "+46701234512"),
            ("00", ""),
            ("handset-token", "handsettoken"),
        ],
    )
    def test_not_the_same(self, one, other):
        assert comparable_address(one) != comparable_address(other)
