"""Simulated traffic: real-looking provider payloads, with the disorder of real life, repeatable by seed.

Pure: no Kafka, no clock of its own. The caller decides when `start` is and whether to wait for each record's `due`.
"""

from processor.demo.simulate.canonical import canonical_events
from processor.demo.simulate.controls import waiting_deliveries
from processor.demo.simulate.disorder import NONE, Disorder, Record
from processor.demo.simulate.faults import Window, bounce_storm, broken_records, silenced, stuck_delivery, usual_past
from processor.demo.simulate.lives import Campaign, Provider
from processor.demo.simulate.single import Single, single_report
from processor.demo.simulate.story import (
    EARLY_RECEIPT,
    EARLY_SID,
    FAILED_MESSAGE,
    LONG_TEXT,
    early_receipt,
    failed_message,
    long_text,
)
from processor.demo.simulate.traffic import PROVIDERS, campaigns, traffic

__all__ = [
    "EARLY_RECEIPT",
    "EARLY_SID",
    "FAILED_MESSAGE",
    "LONG_TEXT",
    "NONE",
    "PROVIDERS",
    "Campaign",
    "Disorder",
    "Provider",
    "Record",
    "Single",
    "Window",
    "bounce_storm",
    "broken_records",
    "campaigns",
    "canonical_events",
    "early_receipt",
    "failed_message",
    "long_text",
    "silenced",
    "single_report",
    "stuck_delivery",
    "traffic",
    "usual_past",
    "waiting_deliveries",
]
