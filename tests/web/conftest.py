"""Assertions of the shared harness explain themselves."""

import pytest

pytest.register_assert_rewrite("tests.engine.harness")
