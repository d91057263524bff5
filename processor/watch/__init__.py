"""Sweeps through what a partition keeps.

Those through its rows (sweep.py) find stuck messages, silent providers, contradictions and durations; those through
native keys (key_sweep.py) which receipts wait or have expired; those through addresses (address_sweep.py) their
conditions.
"""
