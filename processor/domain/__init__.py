"""The pure core: statuses, transitions, and a fold whose result does not depend on arrival order.

Nothing here waits, logs, or reads a clock, the environment or a file. Time comes with the event.
"""
