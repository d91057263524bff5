"""The metrics of a shadow, under names of their own: no rule, dashboard or sum of the live ones takes them in."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric

#: How names begin, and how they do for a shadow. What a process tells of itself keeps its name.
_LIVE, _SHADOW = "delivery_", "delivery_shadow_"


class ShadowRegistry(CollectorRegistry):
    """The metrics of another registry, renamed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Yield the samples, as prometheus_client asks for them."""
        for metric in self._registry.collect():
            renamed = Metric(_renamed(metric.name), metric.documentation, metric.type, metric.unit)
            renamed.samples = [sample._replace(name=_renamed(sample.name)) for sample in metric.samples]
            yield renamed


def _renamed(name: str) -> str:
    return _SHADOW + name.removeprefix(_LIVE) if name.startswith(_LIVE) else name
