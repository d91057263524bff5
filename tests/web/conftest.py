"""Corners of the broker for the tests that need one; assertions of the shared harness explain themselves."""

import pytest

pytest.register_assert_rewrite("tests.engine.harness")

from tests.engine.conftest import make_trial  # noqa: E402 - it imports the harness

__all__ = ["make_trial"]
