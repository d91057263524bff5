"""The header of a record that a shadow copied from a live topic into its own (stages/mirror.py)."""

from __future__ import annotations

#: The prefix of the topic that it was copied from; one header for each copy.
MIRRORED_HEADER = "delivery.mirrored"
