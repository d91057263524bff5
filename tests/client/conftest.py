"""A corner of the broker, as the tests of the engine have it."""

from tests.engine.conftest import make_trial, trial

__all__ = ["make_trial", "trial"]
