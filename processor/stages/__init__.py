"""What the engine runs, declared as data."""

from __future__ import annotations

from processor.engine.stage import Stage
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import fold, normalise

#: The names of all stages, in the direction that data flows.
STAGE_NAMES = ("normalise", "fold")


def stages(settings: Settings, metrics: Metrics) -> tuple[Stage, ...]:
    """Give the stages of a worker, in the direction that data flows."""
    return normalise.stage(settings, metrics), fold.stage(settings, metrics)
