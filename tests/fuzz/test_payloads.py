"""Whatever a payload, a header, a key or a timestamp holds, each record has its outcome, and none is a fault of ours.

FUZZ_PAYLOADS says how many records (`make fuzz`: a million), FUZZ_SEED from which seed; the seed and the provider
reproduce a failure. How long a record takes, and what all of them leave behind, is judged in a run of its own only
(test_long_run.py).
"""

import pytest

from processor.providers import ADAPTERS
from tests.fuzz.line import Line
from tests.fuzz.running import SEED, fuzz

#: Some 20,000 in all.
PAYLOADS = 800


@pytest.mark.slow
@pytest.mark.parametrize("provider", ADAPTERS)
def test_every_record_has_its_outcome(provider, monkeypatch):
    line = Line(monkeypatch)
    fuzz(line, provider, SEED, PAYLOADS)
    line.finish()
    # A fuzzer of which nothing gets through, or nothing is refused, tries nothing.
    assert min(line.outcomes[name] for name in ("Event", "Unreadable")) > PAYLOADS // 20, line.outcomes
    assert len(line.dead) > 3, line.dead
