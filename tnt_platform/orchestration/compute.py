"""The ECS task of a dataset's runs: translate CPU, memory and Spot from its YAML into the launcher's tags."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tnt_platform.services.cost import Hardware
from tnt_platform.settings import Settings
from tnt_platform.specs.dataset import Compute, fargate_sizes

# The run tags that dagster_aws's EcsRunLauncher reads.
CPU_TAG, MEMORY_TAG, RUN_TASK_TAG = "ecs/cpu", "ecs/memory", "ecs/run_task_kwargs"
UNITS_PER_VCPU = 1024
MB_PER_GB = 1024


def _on(provider: str) -> str:
    strategy = {"capacityProviderStrategy": [{"capacityProvider": provider, "weight": 1}]}
    return json.dumps(strategy, separators=(",", ":"))


SPOT, ON_DEMAND = _on("FARGATE_SPOT"), _on("FARGATE")


def launcher_tags(compute: Compute | None) -> dict[str, str]:
    """Return the tags of a dataset's op, which `SizedRunCoordinator` copies to each of its runs."""
    if compute is None:
        return {}
    size = {} if compute.cpu is None else {CPU_TAG: str(compute.cpu), MEMORY_TAG: str(compute.memory_mb)}
    return size | ({RUN_TASK_TAG: SPOT} if compute.spot else {})


def tags_of_run(ops: Iterable[Mapping[str, str]], default: tuple[int, int]) -> dict[str, str]:
    """Return the launcher's tags for a run of ops with these tags: a task that is large enough for each of them.

    An op without a size needs the `default` (CPU units, memory in MB). Spot only if every op allows it.
    """
    requested = list(ops)
    if not any(CPU_TAG in tags or RUN_TASK_TAG in tags for tags in requested):
        return {}
    sizes = [
        (int(tags[CPU_TAG]), int(tags[MEMORY_TAG])) if CPU_TAG in tags else default for tags in requested
    ]
    spot = {RUN_TASK_TAG: SPOT} if all(tags.get(RUN_TASK_TAG) == SPOT for tags in requested) else {}
    if all(CPU_TAG not in tags for tags in requested):
        return spot
    cpu, memory_mb = _smallest_size(max(cpu for cpu, _ in sizes), max(memory for _, memory in sizes))
    return {CPU_TAG: str(cpu), MEMORY_TAG: str(memory_mb)} | spot


def _smallest_size(cpu: int, memory_mb: int) -> tuple[int, int]:
    """Return the smallest Fargate size with at least this much of both, or the largest if none has."""
    sizes = [(units, memory) for units, offered in fargate_sizes().items() for memory in offered]
    enough = [size for size in sizes if size[0] >= cpu and size[1] >= memory_mb]
    return min(enough, default=max(sizes))


@dataclass(frozen=True)
class TaskSize:
    """The size of a run's task, which decides its price."""

    vcpu: float
    memory_gb: float
    hardware: Hardware

    @classmethod
    def of(cls, run_tags: Mapping[str, str], settings: Settings) -> TaskSize:
        """Return the size that the run was launched with, else that of the environment."""
        sized = CPU_TAG in run_tags and MEMORY_TAG in run_tags
        return cls(
            int(run_tags[CPU_TAG]) / UNITS_PER_VCPU if sized else settings.task_vcpu,
            int(run_tags[MEMORY_TAG]) / MB_PER_GB if sized else settings.task_memory_gb,
            "x86_spot" if "FARGATE_SPOT" in run_tags.get(RUN_TASK_TAG, "") else "x86",
        )
