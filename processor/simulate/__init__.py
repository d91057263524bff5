"""Simulated traffic: real-looking provider payloads, with the disorder of real life, repeatable by seed.

Pure: no Kafka, no clock of its own. The caller decides when `start` is and whether to wait for each record's `due`.
"""

from processor.simulate.canonical import canonical_events
from processor.simulate.controls import waiting_deliveries
from processor.simulate.disorder import NONE, Disorder, Record
from processor.simulate.lives import Campaign, Provider
from processor.simulate.traffic import PROVIDERS, campaigns, traffic

__all__ = [
    "NONE",
    "PROVIDERS",
    "Campaign",
    "Disorder",
    "Provider",
    "Record",
    "campaigns",
    "canonical_events",
    "traffic",
    "waiting_deliveries",
]
