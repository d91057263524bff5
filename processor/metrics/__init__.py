"""The metrics of a worker: `table.py` has a row for each, `labels.py` their labels and the closed sets of values."""

from processor.metrics.labels import (
    NEW,
    PARTITION_STATES,
    PROVIDERS,
    REROUTED,
    VERDICTS,
    Provider,
    provider_label,
)
from processor.metrics.table import Metrics, count

__all__ = [
    "NEW",
    "PARTITION_STATES",
    "PROVIDERS",
    "REROUTED",
    "VERDICTS",
    "Metrics",
    "Provider",
    "count",
    "provider_label",
]
