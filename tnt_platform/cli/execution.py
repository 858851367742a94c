"""Runs a dataset's job in this process, recorded in Dagster like any other run, with a progress bar."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping

import dagster as dg
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tnt_platform.cli.tables import console

POLL_S = 0.5
# Every line is in the web UI; here it would tear the progress bar, and what failed is said at the end.
QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


def execute_job(
    instance: dg.DagsterInstance,
    dataset: str,
    steps: int,
    tags: Mapping[str, str],
    config: Mapping[str, object],
) -> bool:
    """Run `<dataset>_job` and print why it failed, if it did; `steps` materializations fill the bar."""
    from tnt_platform.definitions import defs

    job = defs().resolve_job_def(f"{dataset}_job")
    run_id = str(uuid.uuid4())
    outcome: list[dg.ExecuteInProcessResult] = []

    def work() -> None:
        outcome.append(
            job.execute_in_process(
                instance=instance,
                run_id=run_id,
                tags=dict(tags),
                run_config={"loggers": QUIET}
                | ({"ops": {dataset: {"config": dict(config)}}} if config else {}),
                raise_on_error=False,
            )
        )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    thread = threading.Thread(target=work, daemon=True)
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(f"{dataset} steps", total=steps)
        thread.start()
        while thread.is_alive():
            time.sleep(POLL_S)
            progress.update(bar, completed=_materialized(instance, run_id))
        progress.update(bar, completed=_materialized(instance, run_id))
    for result in outcome:
        _say_failures(result)
    return bool(outcome) and outcome[0].success


def _say_failures(result: dg.ExecuteInProcessResult) -> None:
    for event in result.all_events:
        if event.is_step_failure:
            said = event.step_failure_data.error_display_string
            # Our failures name the date, what is wrong and how to mend it; the stack is in the web UI.
            said = said.split("\n\nStack Trace:")[0].split("\n\nThe above")[0]
            console.print(said.removeprefix("dagster._core.definitions.events.Failure: "), markup=False)


def _materialized(instance: dg.DagsterInstance, run_id: str) -> int:
    return len(instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION))
