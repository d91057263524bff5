"""Make a metric of a row of the table, or a family of metrics that typed labels tell apart."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field
from itertools import chain
from typing import Any, Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram, Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from processor.metrics.labels import names_of, texts_of

Child = TypeVar("Child", Counter, Gauge, Histogram)
Labels = TypeVar("Labels", bound="tuple[object, ...]")


class Family(Collector, Generic[Child, Labels]):
    """The metrics of one name.

    Args:
        family: as prometheus_client has it.
        names: of its labels.
        known: the labels to export from the start, at 0, so that the first increment is seen.
        of_stage: the same for a stage: which stages there are is known when a worker is made.
    """

    def __init__(
        self,
        family: Child,
        names: Sequence[str],
        known: Iterable[Labels],
        of_stage: Callable[[str], Iterable[Labels]] | None,
    ) -> None:
        self.names = tuple(names)
        self._family: Any = family
        self._of_stage = of_stage
        #: Made when somebody first looks: there are thousands, and a worker is to start at once.
        self._known = known
        #: The metrics that were asked for: prometheus_client takes many times as long to find one.
        self._found: dict[Labels, Child] = {}

    def start(self, stage: str) -> None:
        """Export what is known of a stage."""
        if self._of_stage is not None:
            self._known = chain(self._known, self._of_stage(stage))

    def labels(self, labels: Labels) -> Child:
        """Return the metric of these labels."""
        child = self._found.get(labels)
        if child is None:
            child = self._found[labels] = self._family.labels(*texts_of(labels))
        return child

    def total(self, is_wanted: Callable[[Labels], bool]) -> float:
        """Return the sum of counters, by their labels; those that nobody has asked for yet are at 0."""
        found: dict[Labels, Any] = self._found
        # prometheus_client tells values with all labels as texts only: as much work as a page of metrics.
        return sum((child._value.get() for labels, child in found.items() if is_wanted(labels)), 0.0)  # noqa: SLF001

    def remove(self, labels: Labels) -> None:
        """Export the metric of these labels no longer."""
        self._found.pop(labels, None)
        self._family.remove(*texts_of(labels))

    def clear(self) -> None:
        """Export none of the metrics any longer."""
        self._known = ()
        self._found.clear()
        self._family.clear()

    def describe(self) -> Iterable[Metric]:
        """Yield the name, which must be the only one of a registry."""
        yield from self._family.describe()

    def collect(self) -> Iterable[Metric]:
        """Yield the samples, as prometheus_client asks for them."""
        known, self._known = self._known, ()
        for each in known:
            self.labels(each)
        yield from self._family.collect()


class BulkHistogram(Collector, Generic[Labels]):
    """A family of histograms, each of which takes a chunk's observations at once.

    `prometheus_client.Histogram.observe` costs more for each event than the fold does.

    Args:
        name: without `_bucket` and its like.
        documentation: the help text.
        labels: the type of its labels.
        known: all of them. Others are passed over: a worker must not end over a number.
        buckets: upper bounds, ascending.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: type[Labels],
        known: Iterable[Labels],
        buckets: Sequence[float],
    ) -> None:
        self._name, self._documentation, self._names = name, documentation, names_of(labels)
        self._buckets = tuple(buckets)
        self._counts: dict[Labels, list[int]] = {each: [0] * (len(self._buckets) + 1) for each in known}
        self._sums: dict[Labels, float] = dict.fromkeys(self._counts, 0.0)

    def observe_many(self, labels: Labels, observations: Sequence[float]) -> None:
        """Count observations."""
        counts = self._counts.get(labels)
        if counts is None:
            return
        ordered = sorted(observations)
        below = 0
        for index, bound in enumerate(self._buckets):
            upto = bisect_right(ordered, bound, below)
            counts[index] += upto - below
            below = upto
        counts[-1] += len(ordered) - below
        self._sums[labels] += sum(ordered)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the samples, as prometheus_client asks for them."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._names)
        bounds = [*map(str, map(float, self._buckets)), "+Inf"]
        for labels, counts in self._counts.items():
            total, cumulative = 0, []
            for bound, count in zip(bounds, counts, strict=True):
                total += count
                cumulative.append((bound, total))
            family.add_metric(texts_of(labels), buckets=cumulative, sum_value=self._sums[labels])
        yield family


# Rows


def single(kind: type[Child], name: str, documentation: str) -> Child:
    """Make a row: a metric without labels; of a counter, `_total` is no part of the name."""
    return field(init=False, default_factory=lambda: kind(name, documentation, registry=None))


def labelled(  # noqa: PLR0913 - the columns of the table
    kind: type[Child],
    name: str,
    documentation: str,
    labels: type[Labels],
    known: Callable[[], Iterable[Labels]] = tuple,
    *,
    of_stage: Callable[[str], Iterable[Labels]] | None = None,
    **more: Any,
) -> Family[Child, Labels]:
    """Make a row: a family; see Family for the last columns, and `kind` for what more it takes."""

    def make() -> Family[Child, Labels]:
        names = names_of(labels)
        return Family(kind(name, documentation, names, registry=None, **more), names, known(), of_stage)

    return field(init=False, default_factory=make)


def bulk(
    name: str,
    documentation: str,
    labels: type[Labels],
    known: Callable[[], Iterable[Labels]],
    buckets: Sequence[float],
) -> BulkHistogram[Labels]:
    """Make a row: histograms that take a chunk at a time."""
    return field(init=False, default_factory=lambda: BulkHistogram(name, documentation, labels, known(), buckets))
