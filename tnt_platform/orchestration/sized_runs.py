"""Every run, whoever asks for it, gets the task that its datasets' YAML asks for.

Dagster keeps an asset's op tags to the op: a sensor's run has those of its request, a backfill's those of the
backfill, and "Materialize" none. The coordinator is the one door they all pass.
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
    """Dagster's queue, which first writes the ECS tags of a run's ops on the run, where the launcher reads them."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Tags that somebody gave the run stay; a run that is tried again goes to Spot no more."""
        run = context.dagster_run
        if tags := self._tags(run):
            self._instance.add_run_tags(run.run_id, tags)
        return super().submit_run(context)

    def _tags(self, run: dg.DagsterRun) -> dict[str, str]:
        asked = {name: value for name, value in self._asked_by_ops(run).items() if name not in run.tags}
        # By hand a size is a pair too: half of it from here could be one that Fargate doesn't have.
        if CPU_TAG in run.tags or MEMORY_TAG in run.tags:
            asked = {name: value for name, value in asked.items() if name == RUN_TASK_TAG}
        if RETRY_TAG in run.tags and run.tags.get(RUN_TASK_TAG, asked.get(RUN_TASK_TAG)) == SPOT:
            asked[RUN_TASK_TAG] = ON_DEMAND
        return asked

    def _asked_by_ops(self, run: dg.DagsterRun) -> Mapping[str, str]:
        if run.job_snapshot_id is None:
            return {}
        job = self._instance.get_job_snapshot(run.job_snapshot_id)
        resources = getattr(self._instance.run_launcher, "run_resources", None) or {}
        default = int(resources.get("cpu", 256)), int(resources.get("memory", 512))
        return tags_of_run((op.tags for op in job.node_defs_snapshot.op_def_snaps), default)
