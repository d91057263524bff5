"""The metrics of every process: its memory, CPU time and files, the build that it runs, and its warnings."""

from __future__ import annotations

from dataclasses import dataclass, fields

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, disable_created_metrics

from processor.installed import version
from processor.metrics import labels as known
from processor.metrics.families import Family, labelled
from processor.metrics.labels import ByBuild, ByWarning


@dataclass(eq=False, kw_only=True)
class ProcessMetrics:
    """The metrics of one process, in a registry of its own; a kind of process adds its rows."""

    warnings: Family[Counter, ByWarning] = labelled(
        Counter,
        "delivery_warnings",
        "Warnings and errors of the log by event, those included that it suppressed.",
        ByWarning,
        known.by_warning,
    )
    build: Family[Gauge, ByBuild] = labelled(
        Gauge, "delivery_build_info", "Always 1: the version that runs, and the commit it was built from.", ByBuild
    )

    def _export(self, commit: str) -> None:
        """Put all rows, and what is known of the process, into a new registry."""
        # A `_created` series for every counter would double the page without use.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.build.labels(ByBuild(version(), commit)).set(1)
        for row in fields(self):
            self.registry.register(getattr(self, row.name))

    def see_warning(self, event: str) -> None:
        """Count a line of the log; `event` is one of KNOWN_WARNINGS."""
        self.warnings.labels(ByWarning(event)).inc()
