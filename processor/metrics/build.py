"""What every process exports of itself: its memory, CPU time and files, and the build that it runs."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

from processor.installed import version
from processor.metrics.families import Family
from processor.metrics.labels import ByBuild


def export_process(registry: CollectorRegistry, build: Family[Gauge, ByBuild], commit: str) -> None:
    """Export `process_*` of this process, as Prometheus' own clients do, and its build."""
    ProcessCollector(registry=registry)
    build.labels(ByBuild(version(), commit)).set(1)
