"""Sweeps through the rows of a partition: they find stuck messages, silent providers, contradictions and durations."""
