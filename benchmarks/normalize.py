"""Payloads a second on one core, from bytes to findings, of each provider's samples; and what its goal is."""

from __future__ import annotations

import argparse
import json
import time
from datetime import datetime, timezone
from pathlib import Path

import orjson

from processor.providers import ADAPTERS, decode_payload, read
from processor.providers.adapter import Context

SAMPLES = Path(__file__).parent.parent / "tests" / "providers" / "samples"
GOALS = {"kumomta": 50_000}
GOAL = 20_000


def payloads(provider: str) -> list[bytes]:
    """Return the samples that lead to events, as the bytes that travel."""
    found = []
    for line in (SAMPLES / f"{provider}.jsonl").read_text(encoding="utf-8").splitlines():
        sample = json.loads(line)
        if sample["expected"] not in ("no_status", "unknown", "dead"):
            raw = sample["raw"]
            found.append(raw.encode() if isinstance(raw, str) else orjson.dumps(raw))
    return found


def rate(provider: str, seconds: float, rounds: int) -> tuple[float, float]:
    """Return payloads and findings a second, of the best of several rounds: what disturbs a round makes it slower."""
    adapter, values = ADAPTERS[provider], payloads(provider)
    context = Context(datetime.now(timezone.utc))
    findings = sum(len(read(adapter, decode_payload(value), context)) for value in values) / len(values)
    best = 0.0
    for _ in range(rounds):
        done, started = 0, time.process_time()
        while (spent := time.process_time() - started) < seconds:
            for value in values:
                read(adapter, decode_payload(value), context)
            done += len(values)
        best = max(best, done / spent)
    return best, best * findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--providers", default=",".join(ADAPTERS), help="separated by commas")
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU seconds of a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    # A payload may be a batch, a log of several lines, or a file with its header: so findings are counted as well.
    print("| provider | payloads/s | findings/s | goal | |\n| --- | ---: | ---: | ---: | --- |")
    missed = 0
    for provider in options.providers.split(","):
        (reached, found), goal = rate(provider, options.seconds, options.rounds), GOALS.get(provider, GOAL)
        missed += reached < goal
        print(f"| {provider} | {reached:,.0f} | {found:,.0f} | {goal:,} | {'' if reached >= goal else 'missed'} |")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
