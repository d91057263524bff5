"""Reasons: Adobe's categories and codes, and an order that leaves no tie undecided."""

from itertools import combinations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.reason import ADOBE_CODES, Category, Reason
from processor.domain.status import Permanence
from tests.examples import examples

property_of = settings(
    derandomize=True, deadline=None, max_examples=examples(300), suppress_health_check=list(HealthCheck)
)

#: Adobe Campaign's technical values.
CODES = """
undefined 0, user_unknown 1, invalid_domain 2, unreachable 3, account_disabled 4, mailbox_full 5, not_connected 6,
address_not_specified 7, denylisted 8, quarantined 9, duplicate 10, excluded_by_rule 11, excluded_by_arbitration 12,
bad_quality_address 14, unqualified_address 15, not_eligible 16, target_limited 17, refused 20, error_ignored 25,
control_address 127
"""


def test_the_codes_are_adobes():
    expected = {name: int(code) for name, code in (entry.split() for entry in CODES.split(","))}
    assert {category.value: code for category, code in ADOBE_CODES.items()} == expected


def test_only_our_own_category_has_no_code():
    assert set(Category) - set(ADOBE_CODES) == {Category.PERSONALIZATION}


def test_no_two_categories_share_a_code():
    assert len(set(ADOBE_CODES.values())) == len(ADOBE_CODES)


texts = st.none() | st.text(min_size=1, max_size=3)
reasons = st.builds(
    Reason,
    permanence=st.sampled_from([None, *Permanence]),
    category=st.sampled_from([None, *Category]),
    code=texts,
    provider_code=texts,
    text=texts,
)


@property_of
@given(st.lists(reasons, max_size=8))
def test_different_reasons_have_different_places_so_a_tie_of_time_has_one_winner(some):
    for one, other in combinations(some, 2):
        assert (one.order() == other.order()) is (one == other)
        assert one.order() <= other.order() or other.order() <= one.order()


@pytest.mark.parametrize("field", ["code", "provider_code", "text"])
def test_an_empty_text_and_no_text_have_different_places(field):
    assert Reason(**{field: ""}).order() != Reason().order()


def test_a_reason_is_written_without_what_it_does_not_say():
    assert msgspec.json.encode(Reason()) == b"{}"
    assert msgspec.json.encode(Reason(category=Category.REFUSED)) == b'{"category":"refused"}'
