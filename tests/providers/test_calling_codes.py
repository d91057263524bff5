"""Countries of numbers."""

import pytest

from processor.providers.calling_codes import REGIONS, calling_code_of, region_of


@pytest.mark.parametrize(
    ("recipient", "code", "region"),
    [
        ("+46 70-123 45 67", "+46", "SE"),
        ("0046701234567", "+46", "SE"),
        ("12025550123", "+1", "US"),
        ("+358401234567", "+358", "FI"),
        ("+3511234567", "+351", "PT"),
    ],
)
def test_a_number_tells_its_country(recipient, code, region):
    assert calling_code_of(recipient) == code
    assert region_of(code) == region


@pytest.mark.parametrize("recipient", ["0701234567", "72400", "a@example.com", "+2101234567", "", "٤٦٧٠١٢٣٤٥٦٧"])
def test_what_tells_no_country(recipient):
    assert calling_code_of(recipient) is None


def test_no_code_begins_another():
    assert not [(one, other) for one in REGIONS for other in REGIONS if one != other and other.startswith(one)]
