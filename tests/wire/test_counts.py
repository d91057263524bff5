"""Counts on the wire."""

import pytest

from processor.domain.moment import to_rfc3339
from processor.wire.counts import from_rfc3339


@pytest.mark.parametrize("microseconds", [0, 1, 999, 1_000, 125_000, 999_999, 1_795_420_800_000_001, -1])
def test_a_moment_comes_back_exactly(microseconds):
    assert from_rfc3339(to_rfc3339(microseconds)) == microseconds
