"""What the tests of the adapters share."""

from datetime import datetime, timezone

import pytest

from processor.providers.adapter import Context


@pytest.fixture(scope="session")
def context() -> Context:
    return Context(received=datetime(2026, 1, 1, tzinfo=timezone.utc))
