"""From `compute:` in a dataset's YAML to the tags that the ECS launcher reads, and to the price of a run's task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnt_platform.lake.publishing import Published, open_workspace
from tnt_platform.orchestration.compute import (
    CPU_TAG,
    MEMORY_TAG,
    ON_DEMAND,
    RUN_TASK_TAG,
    SPOT,
    TaskSize,
    launcher_tags,
    tags_of_run,
)
from tnt_platform.orchestration.cost import Meter
from tnt_platform.services.cost import Prices
from tnt_platform.settings import Settings
from tnt_platform.specs.dataset import Compute, fargate_sizes

PAIRS = st.sampled_from([(cpu, memory) for cpu, offered in fargate_sizes().items() for memory in offered])
DEFAULT = (1024, 2048)


@pytest.mark.parametrize(
    ("cpu", "memory_mb"),
    [(256, 512), (256, 2048), (512, 4096), (1024, 8192), (2048, 16384), (4096, 30720), (8192, 61440)],
)
def test_the_smallest_and_largest_tasks_that_aws_documents_are_allowed(cpu: int, memory_mb: int) -> None:
    tags = launcher_tags(Compute(cpu=cpu, memory_mb=memory_mb))
    assert tags == {CPU_TAG: str(cpu), MEMORY_TAG: str(memory_mb)}


@pytest.mark.parametrize(
    ("cpu", "memory_mb"), [(256, 1536), (256, 3072), (1024, 1024), (4096, 31744), (8192, 20000), (0, 512)]
)
def test_what_fargate_lacks_is_rejected_with_what_it_has(cpu: int, memory_mb: int) -> None:
    with pytest.raises(ValueError, match=r"Fargate has no .*expected .*"):
        Compute(cpu=cpu, memory_mb=memory_mb)


def test_spot_is_a_capacity_provider_and_nothing_else_of_the_task() -> None:
    assert launcher_tags(Compute(spot=True)) == {RUN_TASK_TAG: SPOT}
    assert json.loads(SPOT) == {
        "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    }


@given(st.lists(PAIRS, min_size=1, max_size=4))
def test_a_run_of_several_datasets_gets_the_smallest_size_of_fargate_that_holds_each(
    pairs: list[tuple[int, int]],
) -> None:
    tags = tags_of_run([{CPU_TAG: str(cpu), MEMORY_TAG: str(memory)} for cpu, memory in pairs], DEFAULT)
    cpu, memory = int(tags[CPU_TAG]), int(tags[MEMORY_TAG])
    assert memory in fargate_sizes()[cpu]
    assert cpu >= max(cpu for cpu, _ in pairs)
    assert memory >= max(memory for _, memory in pairs)
    if len(set(pairs)) == 1:
        assert (cpu, memory) == pairs[0]


def test_ops_without_compute_leave_a_run_to_the_environment() -> None:
    assert tags_of_run([{"tnt/dataset": "posts"}, {}], DEFAULT) == {}


def test_a_run_is_on_spot_only_if_all_its_ops_agree() -> None:
    spot = {RUN_TASK_TAG: SPOT}
    assert tags_of_run([spot, spot], DEFAULT) == spot
    assert tags_of_run([spot, {}], DEFAULT) == {}
    assert tags_of_run([spot, {CPU_TAG: "512", MEMORY_TAG: "1024"}], DEFAULT) == {
        CPU_TAG: "1024",
        MEMORY_TAG: "2048",
    }


def test_a_run_is_priced_by_the_task_it_was_launched_as() -> None:
    settings = Settings.from_environment({"TNT_TASK_VCPU": "2", "TNT_TASK_MEMORY_GB": "8"})
    assert TaskSize.of({}, settings) == TaskSize(2, 8, "x86")
    size = {CPU_TAG: "512", MEMORY_TAG: "1024"}
    assert TaskSize.of({**size, RUN_TASK_TAG: SPOT}, settings) == TaskSize(0.5, 1, "x86_spot")
    assert TaskSize.of({**size, RUN_TASK_TAG: ON_DEMAND}, settings) == TaskSize(0.5, 1, "x86")


def test_a_step_costs_its_seconds_once_and_its_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds were once charged twice."""
    workspace = open_workspace(Settings.from_environment({"TNT_HOME": str(tmp_path)}))
    clock = iter([100.0, 3700.0])
    monkeypatch.setattr("tnt_platform.orchestration.cost.time.monotonic", lambda: next(clock))
    meter = Meter.start(workspace, TaskSize(1, 2, "x86_spot"))
    workspace.raw.requests.reads += 1000
    workspace.lake.requests.writes += 10
    hour = Prices.load().fargate.x86_spot
    facts = meter.cost(_nothing(), files=500)
    expected = hour.vcpu_hour + 2 * hour.memory_gb_hour + 0.0004 + 10 * 0.005 / 1000
    assert facts["cost_usd"] == pytest.approx(expected, abs=1e-8)
    assert facts["cost_usd_per_1000_files"] == pytest.approx(2 * expected, abs=1e-6)
    assert facts["s3_requests"] == 1010


def _nothing() -> Published:
    return Published("any/step", "2026-01-12", None, True, None)  # type: ignore[arg-type]
