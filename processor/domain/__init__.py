"""The pure core: what a status is, what may follow it, and the fold whose result never depends on arrival order.

Nothing here waits, reads a clock, an environment or a file, or logs. Time arrives in the event.
"""
