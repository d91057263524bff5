"""A corner of the broker, as the engine's tests have it."""

from tests.engine.conftest import make_trial, trial

__all__ = ["make_trial", "trial"]
