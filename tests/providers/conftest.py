"""What the tests of the adapters share."""

from datetime import datetime, timezone

import pytest

from processor.providers.adapter import Context

#: How many times a text that was made up is looked through: what takes the square of its length is seen by then.
TIMES = 20

#: Seconds of this process that such a text does not take on the slowest machine, where its length is all that counts.
NEVER = 5.0


@pytest.fixture(scope="session")
def context() -> Context:
    return Context(received=datetime(2026, 1, 1, tzinfo=timezone.utc))
