"""Corners of the broker for the tests that need one; assertions of the shared harness explain themselves."""

import pytest

from processor.web import forwarding, gateways

pytest.register_assert_rewrite("tests.engine.harness")

from tests.engine.conftest import make_trial  # noqa: E402 - it imports the harness

__all__ = ["make_trial"]


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Let no busy machine make an owner, or a gateway, look away; a test of a timeout sets its own."""
    monkeypatch.setattr(forwarding, "_PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(forwarding, "_CONNECT_SECONDS", 60.0)
    monkeypatch.setattr(gateways, "_PATIENCE_SECONDS", 60.0)
