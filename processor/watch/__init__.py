"""Sweeps through what a partition keeps.

Those through its rows (sweep.py) find stuck messages, silent providers, contradictions and durations; those through its
native keys (key_sweep.py) and addresses (address_sweep.py) what waits, how addresses stand, and what has had its time.
"""
