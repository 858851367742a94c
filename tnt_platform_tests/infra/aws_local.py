"""`make aws-local`: the dev environment as Terraform makes it, on a stand-in of AWS, with runs as its ECS tasks."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tnt_platform.sandbox.generator import made_files, reference_data
from tnt_platform.sandbox.running import running_rate_api
from tnt_platform_tests.e2e.running_dagster import DagsterHome, small_plan
from tnt_platform_tests.infra.aws_stand_in import client_environment, running_stand_in
from tnt_platform_tests.infra.dagster_on_ecs import OnEcs, dagster_on_ecs
from tnt_platform_tests.infra.dev_environment import administrator, applied_dev
from tnt_platform_tests.infra.terraform import copied_infra


def main(*, until_published: bool) -> None:
    """Start everything, drop files for two dates into the raw bucket, run until Ctrl-C or until they are published."""
    if shutil.which("terraform") is None:
        sys.exit("aws-local needs terraform 1.10 or newer on the PATH")
    folder = Path(tempfile.mkdtemp(prefix="tnt-aws-local-"))
    with contextlib.ExitStack() as opened:
        opened.callback(shutil.rmtree, folder, ignore_errors=True)
        url = opened.enter_context(running_stand_in())
        print(f"AWS stand-in  {url}\nterraform apply of dev: about three minutes ...", flush=True)
        applied_dev(copied_infra(folder, client_environment(url)), url)
        environment = _daemon_environment(url)
        api = opened.enter_context(running_rate_api())
        home = DagsterHome(folder / "home")
        platform = opened.enter_context(dagster_on_ecs(home, url, api.url, applied=environment))
        print(
            f"Dagster       {platform.dagster.url}\nlake          {environment['TNT_LAKE_URL']}", flush=True
        )
        _drop_samples(url, environment["TNT_RAW_URL"])
        print(
            "dropped files for two dates; S3 tells the queue, the sensor launches a task for each", flush=True
        )
        with contextlib.suppress(KeyboardInterrupt):
            while not (until_published and _succeeded(platform) >= 2):
                time.sleep(2)
        items = administrator("dynamodb", url).scan(
            TableName=environment["TNT_RESULTS_TABLE"], Select="COUNT"
        )["Count"]
        print(f"{_succeeded(platform)} runs succeeded as tasks, {items} results in DynamoDB", flush=True)


def _daemon_environment(url: str) -> dict[str, str]:
    ecs = administrator("ecs", url)
    [container] = ecs.describe_task_definition(taskDefinition="tnt-dev-daemon")["taskDefinition"][
        "containerDefinitions"
    ]
    return {pair["name"]: pair["value"] for pair in container["environment"]}


def _drop_samples(url: str, raw_url: str) -> None:
    bucket, _, prefix = raw_url.removeprefix("s3://").partition("/")
    plan = small_plan(dt.datetime.now(dt.UTC).date() - dt.timedelta(days=2), 2)
    s3 = administrator("s3", url)
    s3.put_object(Bucket=bucket, Key=f"{prefix}/{plan.reference_key}", Body=reference_data(plan))
    for made in made_files(plan):
        s3.put_object(Bucket=bucket, Key=f"{prefix}/{made.key}", Body=made.data)


def _succeeded(platform: OnEcs) -> int:
    return sum(run.status == "SUCCESS" for run in platform.dagster.runs() if "ecs/task_arn" in run.tags)


if __name__ == "__main__":
    main(until_published="--until-published" in sys.argv[1:])
