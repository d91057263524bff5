"""The stages that the engine runs, declared as data."""

from __future__ import annotations

import time
from collections.abc import Callable

from processor.engine.stage import Stage
from processor.metrics import Metrics
from processor.providers import ADAPTERS
from processor.settings import Settings, SettingsError
from processor.stages import addresses, control, correlate, fold, link, mirror, normalize
from processor.stages.erasures import Erasures
from processor.watch.board import Board
from processor.wire.topics import MTA, SMS

#: The names of all stages, in the direction that data flows.
STAGE_NAMES = ("normalize", "link", "correlate", "control", "fold", "addresses")


def stage_names(settings: Settings) -> tuple[str, ...]:
    """Return the names of a worker's stages: a shadow has one more."""
    return ("mirror", *STAGE_NAMES) if settings.shadow_of else STAGE_NAMES


def stages(
    settings: Settings,
    metrics: Metrics,
    board: Board | None = None,
    clock: Callable[[], float] = time.time,
) -> tuple[Stage, ...]:
    """Return the stages of a worker, in the direction of the data flow.

    Only a shadow has the first one, and `addresses` is there only if its key is set.

    Args:
        settings: those of the worker.
        metrics: those of the worker.
        board: shows present problems; None: one that nobody reads.
        clock: returns the present time, in seconds since the epoch.

    Raises:
        SettingsError: the settings name an unknown provider or topic.
    """
    problems = setting_problems(settings)
    if problems:
        raise SettingsError(problems)
    board, erasures = board or Board(metrics), Erasures()
    feed = (addresses.stage(settings, metrics, board, clock),) if settings.addresses_key else ()
    first = (mirror.stage(settings, metrics, board),) if settings.shadow_of else ()
    return (
        *first,
        normalize.stage(settings, metrics, board, clock),
        link.stage(settings, metrics, board, clock),
        correlate.stage(settings, metrics, board, clock, erasures),
        control.stage(settings, metrics, board, clock, erasures),
        fold.stage(settings, metrics, board, clock, erasures),
        *feed,
    )


def setting_problems(settings: Settings) -> list[str]:
    """Return the problems of settings that name providers and topics, each with its remedy."""
    raw = [settings.topic(topic) for topic in (MTA, SMS)]
    problems = []
    for topic, provider in (settings.provider_by_topic or {}).items():
        if topic not in raw:
            problems.append(f"DELIVERY_PROVIDER_BY_TOPIC names topic {topic!r}; raw topics are {' and '.join(raw)}")
        if provider not in ADAPTERS:
            problems.append(f"DELIVERY_PROVIDER_BY_TOPIC names provider {provider!r}; there are {', '.join(ADAPTERS)}")
    if settings.unlinked == "hold" and not settings.link_wait:
        problems.append("DELIVERY_UNLINKED is 'hold', and DELIVERY_LINK_WAIT is 0: say how long to hold, like '7d'")
    return problems
