"""Compute the cost of one step from its seconds and its requests."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

from tnt_platform.lake.publishing import Published, Workspace
from tnt_platform.orchestration.compute import TaskSize
from tnt_platform.services.cost import cost_usd
from tnt_platform.storage.objects import RequestCounts


@dataclass(frozen=True)
class Meter:
    """The request counters and the time when a step began, and the task it runs in."""

    workspace: Workspace
    task: TaskSize
    started: float
    before: tuple[RequestCounts, RequestCounts]

    @classmethod
    def start(cls, workspace: Workspace, task: TaskSize) -> Meter:
        """Start to measure."""
        counts = (copy.copy(workspace.raw.requests), copy.copy(workspace.lake.requests))
        return cls(workspace, task, time.monotonic(), counts)

    def cost(self, published: Published, *, files: int = 0) -> dict[str, float]:
        """Return metadata: the requests and US dollars of the step so far, and dollars per 1,000 `files` if any.

        A task starts and stops once for all steps of a run, so the minimum billed per task is not part of a step's
        cost; docs/operations.md adds it for whole runs.
        """
        after = (self.workspace.raw.requests, self.workspace.lake.requests)
        spent = {
            name: sum(
                getattr(now, name) - getattr(then, name) for now, then in zip(after, self.before, strict=True)
            )
            for name in ("reads", "writes", "lists")
        }
        cost = cost_usd(
            task_seconds=time.monotonic() - self.started,
            vcpu=self.task.vcpu,
            memory_gb=self.task.memory_gb,
            hardware=self.task.hardware,
            s3_writes=spent["writes"],
            s3_reads=spent["reads"],
            s3_lists=spent["lists"],
            dynamodb_writes=_units(published, "dynamodb_write_units"),
            dynamodb_reads=_units(published, "dynamodb_read_units"),
            tasks=0,
        )
        metadata = {"s3_requests": sum(spent.values()), "cost_usd": round(cost.total, 8)}
        if (per_1000 := cost.per_1000_files(files)) is not None:
            metadata["cost_usd_per_1000_files"] = round(per_1000, 6)
        return metadata


def _units(published: Published, name: str) -> int:
    units = published.facts.get(name, 0)
    return units if isinstance(units, int) else 0
