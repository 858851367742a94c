"""The task a dataset's runs get on ECS: processor, memory, Spot; from its YAML to what the launcher reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import dagster as dg
from pydantic import model_validator

from tnt_platform.services.cost import Hardware
from tnt_platform.settings import Settings

# What dagster_aws's EcsRunLauncher reads off a run.
CPU_TAG, MEMORY_TAG, RUN_TASK_TAG = "ecs/cpu", "ecs/memory", "ecs/run_task_kwargs"
UNITS_PER_VCPU = 1024
MB_PER_GB = 1024


def _on(provider: str) -> str:
    strategy = {"capacityProviderStrategy": [{"capacityProvider": provider, "weight": 1}]}
    return json.dumps(strategy, separators=(",", ":"))


SPOT, ON_DEMAND = _on("FARGATE_SPOT"), _on("FARGATE")


class ComputeModel(dg.Model, dg.Resolvable):
    """The ECS task of a dataset's runs: units of processor (1024 is one), memory in MB, and whether on Spot.

    `cpu` and `memory_mb` are given together, as a pair that Fargate has, or left to the environment's own size.
    """

    cpu: int | None = None
    memory_mb: int | None = None
    spot: bool = False

    @model_validator(mode="after")
    def _is_a_size_of_fargate(self) -> ComputeModel:
        sizes = fargate_sizes()
        if (self.cpu is None) != (self.memory_mb is None):
            given, other = ("cpu", "memory_mb") if self.memory_mb is None else ("memory_mb", "cpu")
            raise ValueError(
                f"{given} without {other}; expected both or neither; add {other}, or delete {given}"
            )
        if self.cpu is not None and self.cpu not in sizes:
            allowed = ", ".join(map(str, sizes))
            raise ValueError(
                f"Fargate has no cpu {self.cpu}; expected one of {allowed}; 1024 is one processor"
            )
        if self.cpu is not None and self.memory_mb not in sizes[self.cpu]:
            raise ValueError(
                f"Fargate has no memory_mb {self.memory_mb} with cpu {self.cpu}; expected "
                f"{_ranges(self.cpu)}; take one of these, or another cpu"
            )
        return self

    def tags(self) -> dict[str, str]:
        """What the op of the dataset carries, for `RunCoordinator` to hand to each of its runs."""
        size = {} if self.cpu is None else {CPU_TAG: str(self.cpu), MEMORY_TAG: str(self.memory_mb)}
        return size | ({RUN_TASK_TAG: SPOT} if self.spot else {})


@cache
def fargate_sizes() -> dict[int, tuple[int, ...]]:
    """Memory in MB that Fargate offers with each number of processor units."""
    sizes: dict[int, tuple[int, ...]] = {}
    for row in _size_rows():
        steps = range(row["from_mb"], row["to_mb"] + 1, row["step_mb"])
        sizes[row["cpu"]] = (*sizes.get(row["cpu"], ()), *steps)
    return sizes


def _size_rows() -> list[dict[str, int]]:
    text = files(__package__).joinpath("fargate_sizes.csv").read_text(encoding="utf-8")
    return [{name: int(value) for name, value in row.items()} for row in csv.DictReader(text.splitlines())]


def _ranges(cpu: int) -> str:
    rows = [row for row in _size_rows() if row["cpu"] == cpu]
    return " or ".join(
        str(row["from_mb"])
        if row["from_mb"] == row["to_mb"]
        else f"{row['from_mb']} to {row['to_mb']} in steps of {row['step_mb']}"
        for row in rows
    )


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
