"""An address has one key, however it is written, and others can make it."""

from hashlib import blake2b

import pytest

from processor.domain.status import Channel
from processor.providers.address_keys import AddressKeys


@pytest.mark.parametrize("written", ["+46 70-123 45 67", "0046701234567", "46701234567"])
def test_an_address_has_one_key_however_it_is_written(written):
    keys = AddressKeys("a secret of somebody")
    assert keys.key_of(Channel.SMS, written) == keys.key_of(Channel.SMS, "46701234567")


def test_a_key_is_what_any_program_can_make_of_address_and_secret():
    hashed = blake2b(b"person@example.com", key=b"a secret of somebody", digest_size=16).hexdigest()
    assert AddressKeys("a secret of somebody").key_of(Channel.EMAIL, "Person@Example.com") == f"email|{hashed}"


def test_a_secret_that_is_longer_than_a_key_may_be_is_hashed_first():
    hashed = blake2b(b"a@b.c", key=blake2b(b"x" * 100).digest(), digest_size=16).hexdigest()
    assert AddressKeys("x" * 100).key_of(Channel.EMAIL, "a@b.c") == f"email|{hashed}"
