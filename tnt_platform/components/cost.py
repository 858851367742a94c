"""What one step of one date cost, from its own seconds and requests."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

from tnt_platform.flows.publishing import Place, Published
from tnt_platform.flows.transit.chain import Chain
from tnt_platform.flows.transit.spec import FILES
from tnt_platform.lake.objects import RequestCounts
from tnt_platform.services.cost import Prices, cost_usd


@dataclass(frozen=True)
class Meter:
    """Request counters and clock as they stood when a step began."""

    started: float
    before: tuple[RequestCounts, RequestCounts]

    @classmethod
    def start(cls, place: Place) -> Meter:
        """Begin to measure."""
        counts = (copy.copy(place.raw.requests), copy.copy(place.lake.requests))
        return cls(time.monotonic(), counts)

    def cost(self, chain: Chain, published: Published) -> dict[str, object]:
        """Metadata: seconds, requests, US dollars of the step, and per 1,000 files of the date.

        A task starts and stops once for all dates of a run, so the minimum billed per task is not
        charged to each step; docs/operations.md adds it up for whole runs.
        """
        seconds = time.monotonic() - self.started
        after = (chain.place.raw.requests, chain.place.lake.requests)
        spent = {
            name: sum(
                getattr(now, name) - getattr(then, name) for now, then in zip(after, self.before, strict=True)
            )
            for name in ("reads", "writes", "lists")
        }
        prices = Prices.load()
        cost = cost_usd(
            task_seconds=seconds,
            vcpu=chain.settings.task_vcpu,
            memory_gb=chain.settings.task_memory_gb,
            s3_writes=spent["writes"],
            s3_reads=spent["reads"],
            s3_lists=spent["lists"],
            dynamodb_writes=_units(published, "dynamodb_write_units"),
            dynamodb_reads=_units(published, "dynamodb_read_units"),
            tasks=0,
            prices=prices,
        )
        hour = prices.fargate.x86
        rate = chain.settings.task_vcpu * hour.vcpu_hour + chain.settings.task_memory_gb * hour.memory_gb_hour
        total = cost.total + seconds / 3600 * rate
        files = chain.place.store.current(chain.spec.dataset(FILES))
        row = files.partition(published.partition) if files else None
        per_1000 = total / row["published"] * 1000 if row and row["published"] else None
        facts: dict[str, object] = {"s3_requests": sum(spent.values()), "cost_usd": round(total, 8)}
        return facts | ({"cost_usd_per_1000_files": round(per_1000, 6)} if per_1000 is not None else {})


def _units(published: Published, name: str) -> int:
    units = published.facts.get(name, 0)
    return units if isinstance(units, int) else 0
