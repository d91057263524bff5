"""What the engine runs, declared as data."""

from __future__ import annotations

from processor.engine.stage import Stage
from processor.metrics import Metrics
from processor.providers import ADAPTERS
from processor.settings import Settings, SettingsError
from processor.stages import fold, normalise
from processor.topics import MTA, SMS

#: The names of all stages, in the direction that data flows.
STAGE_NAMES = ("normalise", "fold")


def stages(settings: Settings, metrics: Metrics) -> tuple[Stage, ...]:
    """Give the stages of a worker, in the direction that data flows.

    Raises:
        SettingsError: the settings name a provider or a topic that there is not.
    """
    problems = setting_problems(settings)
    if problems:
        raise SettingsError(problems)
    return normalise.stage(settings, metrics), fold.stage(settings, metrics)


def setting_problems(settings: Settings) -> list[str]:
    """Say what is wrong with settings that name providers and topics, each with its mend."""
    raw = [settings.topic_prefix + topic.name for topic in (MTA, SMS)]
    problems = []
    for topic, provider in (settings.provider_by_topic or {}).items():
        if topic not in raw:
            problems.append(f"DELIVERY_PROVIDER_BY_TOPIC names topic {topic!r}; raw topics are {' and '.join(raw)}")
        if provider not in ADAPTERS:
            problems.append(f"DELIVERY_PROVIDER_BY_TOPIC names provider {provider!r}; there are {', '.join(ADAPTERS)}")
    return problems
