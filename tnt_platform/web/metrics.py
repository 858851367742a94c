"""What `/metrics` tells Prometheus: requests, and the state of every dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tnt_platform.lake.snapshot import Snapshot

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """One registry a server, so that nothing is shared between two of them in a process."""

    def __init__(self, snapshots: Callable[[], list[Snapshot]]) -> None:
        self._registry = CollectorRegistry()
        self.in_flight = Gauge("tnt_requests_in_flight", "Requests under way.", registry=self._registry)
        self._seconds = Histogram(
            "tnt_request_seconds",
            "Time until the last byte of an answer was handed over.",
            ("route", "method"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._answers = Counter(
            "tnt_answers", "Answers.", ("route", "method", "status"), registry=self._registry
        )
        # Looking a series up by its labels takes longer than counting.
        self._measures: dict[tuple[str, str, int], tuple[Histogram, Counter]] = {}
        self._registry.register(_Datasets(snapshots))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def observe(self, route: str, method: str, status: int, elapsed_s: float) -> None:
        """Count one answer; `route` is a template, so that ids don't become series."""
        measures = self._measures.get((route, method, status))
        if measures is None:
            measures = (self._seconds.labels(route, method), self._answers.labels(route, method, str(status)))
            self._measures[(route, method, status)] = measures
        measures[0].observe(elapsed_s)
        measures[1].inc()

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)


class _Datasets(Collector):
    def __init__(self, snapshots: Callable[[], list[Snapshot]]) -> None:
        self._snapshots = snapshots

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return []  # nothing is read before somebody asks

    def collect(self) -> Iterable[GaugeMetricFamily]:
        gauges = {
            "rows": GaugeMetricFamily("tnt_dataset_rows", "Published rows.", labels=["dataset"]),
            "quarantined": GaugeMetricFamily(
                "tnt_dataset_quarantined_rows", "Rows in quarantine.", labels=["dataset"]
            ),
            "published": GaugeMetricFamily(
                "tnt_dataset_published_timestamp_seconds",
                "When the current version was published.",
                labels=["dataset"],
            ),
            "held": GaugeMetricFamily(
                "tnt_dataset_held", "1 while held at an older state by a rollback.", labels=["dataset"]
            ),
        }
        for snapshot in self._snapshots():
            manifest = snapshot.manifest
            gauges["rows"].add_metric([snapshot.dataset], manifest.rows)
            gauges["quarantined"].add_metric([snapshot.dataset], manifest.counts.quarantined)
            gauges["published"].add_metric([snapshot.dataset], manifest.created_at.timestamp())
            gauges["held"].add_metric([snapshot.dataset], float(manifest.paused_because is not None))
        return gauges.values()
