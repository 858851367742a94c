"""Give every run the ECS task that its datasets' YAML asks for, no matter what launched it.

Dagster does not copy the tags of an op to its runs: a sensor's run has those of its request, a backfill's those of
the backfill, and "Materialize" none. All of them pass the run coordinator.
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

from tnt_platform.orchestration.compute import (
    CPU_TAG,
    MEMORY_TAG,
    ON_DEMAND,
    RUN_TASK_TAG,
    SPOT,
    tags_of_run,
)

RETRY_TAG = "dagster/retry_number"


class SizedRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue, which first copies the ECS tags of a run's ops to the run, where the launcher reads them."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Queue the run with its ECS tags; tags it already has stay, and a retry does not run on Spot."""
        run = context.dagster_run
        if tags := self._tags(run):
            self._instance.add_run_tags(run.run_id, tags)
        return super().submit_run(context)

    def _tags(self, run: dg.DagsterRun) -> dict[str, str]:
        tags = {name: value for name, value in self._tags_of_ops(run).items() if name not in run.tags}
        # A size is a pair: mixing a given half with ours could make one that Fargate does not have.
        if CPU_TAG in run.tags or MEMORY_TAG in run.tags:
            tags = {name: value for name, value in tags.items() if name == RUN_TASK_TAG}
        if RETRY_TAG in run.tags and run.tags.get(RUN_TASK_TAG, tags.get(RUN_TASK_TAG)) == SPOT:
            tags[RUN_TASK_TAG] = ON_DEMAND
        return tags

    def _tags_of_ops(self, run: dg.DagsterRun) -> Mapping[str, str]:
        if run.job_snapshot_id is None:
            return {}
        job = self._instance.get_job_snapshot(run.job_snapshot_id)
        resources = getattr(self._instance.run_launcher, "run_resources", None) or {}
        default = int(resources.get("cpu", 256)), int(resources.get("memory", 512))
        return tags_of_run((op.tags for op in job.node_defs_snapshot.op_def_snaps), default)
