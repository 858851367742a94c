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
from tnt_platform.settings import Settings


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

    def cost(self, chain: Chain, published: Published) -> dict[str, float]:
        """Metadata: requests and US dollars of the step, and per 1,000 files of the date."""
        facts = self.step_cost(chain.place, chain.settings, published)
        files = chain.place.store.current(chain.spec.dataset(FILES))
        row = files.partition(published.partition) if files else None
        if row and row["published"]:
            facts["cost_usd_per_1000_files"] = round(facts["cost_usd"] / row["published"] * 1000, 6)
        return facts

    def step_cost(self, place: Place, settings: Settings, published: Published) -> dict[str, float]:
        """Metadata: requests and US dollars of the step so far.

        A task starts and stops once for all steps of a run, so the minimum billed per task is not
        charged to each step; docs/operations.md adds it up for whole runs.
        """
        seconds = time.monotonic() - self.started
        after = (place.raw.requests, place.lake.requests)
        spent = {
            name: sum(
                getattr(now, name) - getattr(then, name) for now, then in zip(after, self.before, strict=True)
            )
            for name in ("reads", "writes", "lists")
        }
        prices = Prices.load()
        cost = cost_usd(
            task_seconds=seconds,
            vcpu=settings.task_vcpu,
            memory_gb=settings.task_memory_gb,
            s3_writes=spent["writes"],
            s3_reads=spent["reads"],
            s3_lists=spent["lists"],
            dynamodb_writes=_units(published, "dynamodb_write_units"),
            dynamodb_reads=_units(published, "dynamodb_read_units"),
            tasks=0,
            prices=prices,
        )
        hour = prices.fargate.x86
        rate = settings.task_vcpu * hour.vcpu_hour + settings.task_memory_gb * hour.memory_gb_hour
        total = cost.total + seconds / 3600 * rate
        return {"s3_requests": sum(spent.values()), "cost_usd": round(total, 8)}


def _units(published: Published, name: str) -> int:
    units = published.facts.get(name, 0)
    return units if isinstance(units, int) else 0
