"""Simulated traffic: real-looking provider payloads, with the disorder of real life, repeatable by seed.

Pure: no Kafka, no clock of its own. The caller decides when `start` is and whether to wait for each record's `due`.
"""

from processor.simulate.canonical import canonical_events
from processor.simulate.controls import waiting_deliveries
from processor.simulate.disorder import NONE, Disorder, Record
from processor.simulate.faults import Window, bounce_storm, broken_records, silenced, stuck_delivery, usual_past
from processor.simulate.lives import Campaign, Provider
from processor.simulate.story import FAILED_MESSAGE, failed_message
from processor.simulate.traffic import PROVIDERS, campaigns, traffic

__all__ = [
    "FAILED_MESSAGE",
    "NONE",
    "PROVIDERS",
    "Campaign",
    "Disorder",
    "Provider",
    "Record",
    "Window",
    "bounce_storm",
    "broken_records",
    "campaigns",
    "canonical_events",
    "failed_message",
    "silenced",
    "stuck_delivery",
    "traffic",
    "usual_past",
    "waiting_deliveries",
]
