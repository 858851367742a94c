"""The task a dataset's runs get on ECS: processor, memory, Spot; from its YAML to what the launcher reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tnt_platform.services.cost import Hardware
from tnt_platform.settings import Settings
from tnt_platform.specs.dataset import Compute, fargate_sizes

# What dagster_aws's EcsRunLauncher reads off a run.
CPU_TAG, MEMORY_TAG, RUN_TASK_TAG = "ecs/cpu", "ecs/memory", "ecs/run_task_kwargs"
UNITS_PER_VCPU = 1024
MB_PER_GB = 1024


def _on(provider: str) -> str:
    strategy = {"capacityProviderStrategy": [{"capacityProvider": provider, "weight": 1}]}
    return json.dumps(strategy, separators=(",", ":"))


SPOT, ON_DEMAND = _on("FARGATE_SPOT"), _on("FARGATE")


def launcher_tags(compute: Compute | None) -> dict[str, str]:
    """What the op of a dataset carries, for `SizedRunCoordinator` to hand to each of its runs."""
    if compute is None:
        return {}
    size = {} if compute.cpu is None else {CPU_TAG: str(compute.cpu), MEMORY_TAG: str(compute.memory_mb)}
    return size | ({RUN_TASK_TAG: SPOT} if compute.spot else {})


def tags_of_run(ops: Iterable[Mapping[str, str]], default: tuple[int, int]) -> dict[str, str]:
    """The launcher's tags for a run of ops with these tags: the task that is big enough for each of them.

    An op without a size needs the `default` (cpu, memory in MB). Spot only if every op agrees to it.
    """
    asked = list(ops)
    if not any(CPU_TAG in tags or RUN_TASK_TAG in tags for tags in asked):
        return {}
    sizes = [(int(tags[CPU_TAG]), int(tags[MEMORY_TAG])) if CPU_TAG in tags else default for tags in asked]
    spot = {RUN_TASK_TAG: SPOT} if all(tags.get(RUN_TASK_TAG) == SPOT for tags in asked) else {}
    if all(CPU_TAG not in tags for tags in asked):
        return spot
    cpu, memory_mb = _holding(max(cpu for cpu, _ in sizes), max(memory for _, memory in sizes))
    return {CPU_TAG: str(cpu), MEMORY_TAG: str(memory_mb)} | spot


def _holding(cpu: int, memory_mb: int) -> tuple[int, int]:
    """The smallest size of Fargate with at least so much of both; the largest there is, if none has."""
    sizes = [(units, memory) for units, offered in fargate_sizes().items() for memory in offered]
    enough = [size for size in sizes if size[0] >= cpu and size[1] >= memory_mb]
    return min(enough, default=max(sizes))


@dataclass(frozen=True)
class TaskSize:
    """What a run's task has, for its price."""

    vcpu: float
    memory_gb: float
    hardware: Hardware

    @classmethod
    def of(cls, run_tags: Mapping[str, str], settings: Settings) -> TaskSize:
        """The size that the run was launched with, else the environment's own."""
        sized = CPU_TAG in run_tags and MEMORY_TAG in run_tags
        return cls(
            int(run_tags[CPU_TAG]) / UNITS_PER_VCPU if sized else settings.task_vcpu,
            int(run_tags[MEMORY_TAG]) / MB_PER_GB if sized else settings.task_memory_gb,
            "x86_spot" if "FARGATE_SPOT" in run_tags.get(RUN_TASK_TAG, "") else "x86",
        )
