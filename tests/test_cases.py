"""Cases that are tried in one test are told apart as tests are: all that fail, by name, with what each says."""

import pytest

from tests.cases import every_case


def odd_and_named():
    with every_case() as case:
        for number in (1, 2, 3, 4):
            with case(f"number {number}"):
                assert number % 2, "is even"
                {1: "one"}[number]


def test_all_that_fail_are_told_by_name_with_line_and_reason():
    with pytest.raises(pytest.fail.Exception) as failure:
        odd_and_named()
    told = str(failure.value)
    assert told.startswith("3 of 4 cases:")
    assert "number 1" not in told
    assert all(f"number {number}\n    test_cases.py:" in told for number in (2, 3, 4))
    assert told.count("assert number % 2") == told.count("AssertionError: is even\n") == 2
    assert "KeyError: 3" in told


def one_should_raise():
    with every_case() as case:
        with case("never"), pytest.raises(ValueError, match="never"):
            pass
        with case("well"):
            pass


def test_that_something_did_not_raise_is_a_failure():
    with pytest.raises(pytest.fail.Exception, match=r"(?s)1 of 2 cases.*never\n.*DID NOT RAISE"):
        one_should_raise()


def test_all_is_well_when_no_case_fails():
    with every_case() as case, case("well"):
        pass


def test_no_case_at_all_is_a_failure():
    with pytest.raises(AssertionError, match="there are no cases"), every_case():
        pass


def lost_between_cases():
    with every_case() as case:
        with case("never"):
            raise ValueError
        raise KeyError


def test_what_fails_beside_the_cases_is_told_as_ever():
    with pytest.raises(KeyError):
        lost_between_cases()
