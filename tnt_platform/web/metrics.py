"""Metrics for Prometheus: requests, and the state of every dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tnt_platform.lake.snapshot import Snapshot

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """One registry per server, so that two servers in a process share nothing."""

    def __init__(
        self, snapshots: Callable[[], list[Snapshot]], damaged: Callable[[], Mapping[str, str]]
    ) -> None:
        self._registry = CollectorRegistry()
        self.in_flight = Gauge("tnt_requests_in_flight", "Requests in flight.", registry=self._registry)
        self._seconds = Histogram(
            "tnt_request_seconds",
            "Time until the last byte of a response was sent.",
            ("route", "method"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._responses = Counter(
            "tnt_answers", "Responses.", ("route", "method", "status"), registry=self._registry
        )
        # Cached because finding a series by its labels takes longer than counting.
        self._measures: dict[tuple[str, str, int], tuple[Histogram, Counter]] = {}
        self._registry.register(_Datasets(snapshots, damaged))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def observe(self, route: str, method: str, status: int, elapsed_s: float) -> None:
        """Count one response; `route` is a template, so that ids don't become label values."""
        measures = self._measures.get((route, method, status))
        if measures is None:
            measures = (
                self._seconds.labels(route, method),
                self._responses.labels(route, method, str(status)),
            )
            self._measures[(route, method, status)] = measures
        measures[0].observe(elapsed_s)
        measures[1].inc()

    def exposition(self) -> bytes:
        """Return the text that Prometheus scrapes."""
        return generate_latest(self._registry)


class _Datasets(Collector):
    def __init__(
        self, snapshots: Callable[[], list[Snapshot]], damaged: Callable[[], Mapping[str, str]]
    ) -> None:
        self._snapshots = snapshots
        self._damaged = damaged

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return []  # registration must not read the lake

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
                "tnt_dataset_held", "1 while paused at an older state after a rollback.", labels=["dataset"]
            ),
            "damaged": GaugeMetricFamily(
                "tnt_dataset_damaged", "1 while its current version cannot be opened.", labels=["dataset"]
            ),
        }
        for snapshot in self._snapshots():
            manifest = snapshot.manifest
            gauges["rows"].add_metric([snapshot.dataset], manifest.rows)
            gauges["quarantined"].add_metric([snapshot.dataset], manifest.counts.quarantined)
            gauges["published"].add_metric([snapshot.dataset], manifest.created_at.timestamp())
            gauges["held"].add_metric([snapshot.dataset], float(manifest.paused_because is not None))
            gauges["damaged"].add_metric([snapshot.dataset], 0.0)
        for name in self._damaged():
            gauges["damaged"].add_metric([name], 1.0)
        return gauges.values()
