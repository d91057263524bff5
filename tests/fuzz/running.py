"""A run of the fuzzer: records of a provider from a seed, chunk by chunk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random

from processor.providers import ADAPTERS
from tests.fuzz.line import Line
from tests.fuzz.mutations import Seeds
from tests.fuzz.records import record

SEED = int(os.environ.get("FUZZ_SEED", "1"))

#: Records that are folded at a time.
CHUNK = 100

_SAMPLES = Path(__file__).parent.parent / "providers" / "samples"
_OWN = {
    name: [json.loads(line)["raw"] for line in (_SAMPLES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    for name in ADAPTERS
}
_ALL = [payload for payloads in _OWN.values() for payload in payloads]
SEEDS = {name: Seeds(own, _ALL) for name, own in _OWN.items()}


def fuzz(line: Line, provider: str, seed: int, payloads: int) -> None:
    """Pass so many records of a provider; the same seed makes the same records."""
    random = Random(f"{provider} {seed}")
    for start in range(0, payloads, CHUNK):
        chunk = [
            record(random, offset, provider, SEEDS[provider]) for offset in range(start, min(payloads, start + CHUNK))
        ]
        line.pass_chunk(provider, chunk)
