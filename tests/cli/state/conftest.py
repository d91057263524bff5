"""Corners of the broker, beside each other: one is lost, and another one takes its place."""

import pytest

pytest.register_assert_rewrite("tests.engine.harness")

from tests.engine.conftest import make_trial, trial  # noqa: E402 - it imports the harness

__all__ = ["make_trial", "trial"]
