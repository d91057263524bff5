"""Whose data may be erased."""

import pytest

from processor.web.erasing import is_whole

ADDRESS = "ulla.ek@example.com"


@pytest.mark.parametrize("given", [ADDRESS, f"Ulla <{ADDRESS}>", "+46 70 1", "tel:+46701234567", "a@b.c"])
def test_an_address_and_a_number_are_whole(given):
    assert is_whole(given)


@pytest.mark.parametrize("given", ["", "ulla", "1234", " - ", "Sweden", "@example.com", "ulla.ek@", "example.com"])
def test_what_is_no_whole_one_could_be_in_anything(given):
    assert not is_whole(given)
