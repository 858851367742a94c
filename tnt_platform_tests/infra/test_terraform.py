"""infra/ is formatted, valid, holds its own tests, and really makes, keeps and removes the dev environment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tnt_platform.services.queue import read_notification
from tnt_platform_tests.infra.aws_stand_in import ACCOUNT, tell
from tnt_platform_tests.infra.dev_environment import AT_ONCE, STATE_BUCKET, administrator, applied_dev
from tnt_platform_tests.infra.drift import unexplained_changes
from tnt_platform_tests.infra.linters import lint
from tnt_platform_tests.infra.terraform import INFRA, Terraform

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

ROOTS = ("bootstrap", "envs/dev", "envs/staging", "envs/prod")
TESTED_MODULES = tuple(
    sorted({str(test.parents[1].relative_to(INFRA)) for test in INFRA.rglob("*.tftest.hcl")})
)


@pytest.fixture(scope="module")
def applying(cloud: Terraform, stand_in: str) -> Iterator[Future[Terraform]]:
    """Bootstrap, then dev, as docs/aws.md says."""
    with ThreadPoolExecutor(1) as beside:
        yield beside.submit(applied_dev, cloud, stand_in)


@pytest.fixture(scope="module", autouse=True)
def _begun_at_once(request: pytest.FixtureRequest) -> None:
    """The provider mostly waits as it applies: meanwhile the tests that need no cloud run."""
    asked = [item for item in request.session.items if isinstance(item, pytest.Function)]
    if any("applied" in item.fixturenames for item in asked if item.path == request.path):
        request.getfixturevalue("applying")


def test_every_file_is_formatted(infra: Terraform) -> None:
    assert infra.run("fmt", "-check", "-recursive") == ""


@pytest.mark.parametrize("root", ROOTS)
def test_every_environment_is_valid(infra: Terraform, root: str) -> None:
    here = infra.in_folder(root)
    here.run("init", "-backend=false", "-input=false")
    assert json.loads(here.run("validate", "-json"))["valid"] is True


@pytest.mark.parametrize("module", TESTED_MODULES)
def test_the_modules_keep_their_promises(infra: Terraform, module: str) -> None:
    here = infra.in_folder(module)
    here.run("init", "-backend=false", "-input=false")
    assert re.search(r"Success! [1-9]\d* passed, 0 failed", here.run("test", "-no-color"))


@dataclass(frozen=True)
class Applied:
    """The dev environment as it stands in the stand-in, and a second plan on it."""

    dev: Terraform
    url: str
    second: dict[str, Any]

    def client(self, service: str, **keys: str) -> Any:
        return administrator(service, self.url, **keys)

    def policies(self) -> dict[str, dict[str, Any]]:
        """Every role's own policy as the plan renders it, by the role's name."""
        found = {}
        for resource in resources_of(self.second["planned_values"]["root_module"]):
            if resource["type"] == "aws_iam_role_policy":
                values = resource["values"]
                found[f"{values['role']}/{values['name']}"] = json.loads(values["policy"])
        return found


def resources_of(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from resources_of(child)


@pytest.fixture(scope="module")
def applied(applying: Future[Terraform], stand_in: str, tmp_path_factory: pytest.TempPathFactory) -> Applied:
    """Bootstrap and dev as they stand; `test_destroy_leaves_nothing` takes dev down again."""
    dev = applying.result()
    plan = tmp_path_factory.mktemp("plan") / "second.tfplan"
    dev.run("plan", "-input=false", f"-out={plan}")
    return Applied(dev, stand_in, dev.shown(plan))


def test_the_state_is_in_the_bucket_and_its_lock_is_gone(applied: Applied) -> None:
    keys = [found["Key"] for found in applied.client("s3").list_objects_v2(Bucket=STATE_BUCKET)["Contents"]]
    assert keys == ["dev/terraform.tfstate"]


def test_a_second_plan_finds_nothing_to_do_but_what_the_stand_in_forgets(applied: Applied) -> None:
    assert unexplained_changes(applied.second) == []


def test_a_file_in_the_raw_bucket_is_told_to_the_queue(applied: Applied) -> None:
    outputs = applied.second["planned_values"]["outputs"]["platform"]["value"]
    applied.client("s3").put_object(
        Bucket=outputs["buckets"]["raw"], Key="landing/transit/2026-01-12/000011.txt", Body=b"x"
    )
    sqs = applied.client("sqs")
    bodies = []
    while answer := sqs.receive_message(
        QueueUrl=outputs["queues"]["events"]["url"], MaxNumberOfMessages=10
    ).get("Messages"):
        bodies += [message["Body"] for message in answer]
    keys = [event.key for body in bodies for event in read_notification(body, "")[0]]
    assert keys == ["landing/transit/2026-01-12/000011.txt"]


@pytest.mark.parametrize("what", ["actions", "resources"])
def test_no_role_may_do_everything(applied: Applied, what: str) -> None:
    policies = applied.policies()
    assert len(policies) >= 9
    for name, policy in policies.items():
        for statement in as_list(policy["Statement"]):
            if statement["Effect"] == "Deny":
                continue
            if what == "actions":
                assert not [action for action in as_list(statement["Action"]) if "*" in action], name
            else:
                # AWS knows no resource for these three; a condition narrows them.
                wide = "*" in as_list(statement["Resource"])
                assert not wide or "Condition" in statement, f"{name}: {statement}"
                assert not wide or set(as_list(statement["Action"])) <= {
                    "ecr:GetAuthorizationToken",
                    "ecs:DescribeTaskDefinition",
                    "ecs:DeregisterTaskDefinition",
                }, f"{name}: {statement}"


def test_roles_are_passed_to_ecs_only_and_only_the_runs_roles_by_the_daemon(applied: Applied) -> None:
    passing = {
        name: statement
        for name, policy in applied.policies().items()
        for statement in as_list(policy["Statement"])
        if "iam:PassRole" in as_list(statement["Action"])
    }
    assert set(passing) == {"tnt-dev-daemon/what-daemon-does", "tnt-dev-github-deploy/deploy"}
    for statement in passing.values():
        assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    roles = {f"arn:aws:iam::{ACCOUNT}:role/tnt-dev-execution", f"arn:aws:iam::{ACCOUNT}:role/tnt-dev-run"}
    assert set(passing["tnt-dev-daemon/what-daemon-does"]["Resource"]) == roles


def test_listing_is_bound_to_a_prefix_and_keys_to_the_services_that_use_them(applied: Applied) -> None:
    for name, policy in applied.policies().items():
        for statement in as_list(policy["Statement"]):
            actions = as_list(statement["Action"])
            if "s3:ListBucket" in actions:
                assert "s3:prefix" in statement["Condition"]["StringLike"], name
            if any(action.startswith("kms:") for action in actions):
                assert "kms:ViaService" in statement["Condition"]["StringEquals"], name
            if set(actions) & {"ecs:RunTask", "ecs:StopTask", "ecs:UpdateService"}:
                assert "ecs:cluster" in statement["Condition"]["ArnEquals"], name


def test_only_github_jobs_of_the_environment_may_deploy(applied: Applied) -> None:
    trusts = {
        resource["values"]["name"]: json.loads(resource["values"]["assume_role_policy"])
        for resource in resources_of(applied.second["planned_values"]["root_module"])
        if resource["type"] == "aws_iam_role" and "github" in resource["values"]["name"]
    }
    subjects = {
        name: trust["Statement"][0]["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]
        for name, trust in trusts.items()
    }
    assert subjects == {
        "tnt-dev-github-plan": "repo:example/tnt_platform:pull_request",
        "tnt-dev-github-deploy": "repo:example/tnt_platform:environment:dev",
    }


# What the policy linter's stricter checks say of policies that have to say so: (policy, finding) -> why.
EXPLAINED = {
    ("tnt-dev-daemon.what-daemon-does", "PERMISSIONS_MANAGEMENT_ACTIONS"): "launching hands a task its roles",
    ("tnt-dev-github-deploy.deploy", "PERMISSIONS_MANAGEMENT_ACTIONS"): "a new revision names its roles",
    ("tnt-dev-execution.start-tasks", "CREDENTIALS_EXPOSURE"): "the registry's login, to pull the image",
}


def test_a_policy_linter_finds_nothing_unexplained(applied: Applied, tmp_path: Path) -> None:
    for name, policy in applied.policies().items():
        (tmp_path / f"{name.replace('/', '.')}.json").write_text(json.dumps(policy), encoding="utf-8")
    assert found_by_linter(tmp_path) == set(EXPLAINED)

    (tmp_path / "planted.json").write_text(
        json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "s3:GetObjekt", "Resource": "*"}],
            }
        )
    )
    assert found_by_linter(tmp_path) - set(EXPLAINED) == {("planted", "UNKNOWN_ACTION")}


def found_by_linter(folder: Path) -> set[tuple[str, str]]:
    which = ("--directory", ".", "--include_policy_extension", "json")
    said = lint("parliament", *which, "--include-community-auditors", "--json", folder=folder)
    findings = [json.loads(line) for line in said.stdout.splitlines() if line.startswith("{")]
    assert findings or said.returncode == 0, said.stderr
    return {(Path(found["location"]["filepath"]).stem, found["issue"]) for found in findings}


def test_pipelines_read_the_state_and_no_data(applied: Applied) -> None:
    policies = applied.policies()
    for job in ("plan", "deploy"):
        denied = as_list(policies[f"tnt-dev-github-{job}/never-data"]["Statement"])
        assert all(statement["Effect"] == "Deny" for statement in denied)
        [files] = [statement for statement in denied if "s3:GetObject" in statement["Action"]]
        state = f"arn:aws:s3:::{STATE_BUCKET}/dev/terraform.tfstate"
        assert sorted(files["NotResource"]) == [state, f"{state}.tflock"]
        elsewhere = {action for s in denied if s.get("Resource") == "*" for action in as_list(s["Action"])}
        assert elsewhere >= {
            "secretsmanager:GetSecretValue",
            "dynamodb:Scan",
            "sqs:ReceiveMessage",
            "logs:GetLogEvents",
        }
    assert as_list(policies["tnt-dev-github-plan/plan"]["Statement"])[0]["Action"] == "kms:Decrypt"


REFUSED = "refused"


@dataclass(frozen=True)
class Call:
    """One call of the run role, and whether it may."""

    service: str
    operation: str
    arguments: dict[str, Any]
    allowed: bool


def calls(outputs: dict[str, Any]) -> list[Call]:
    lake, raw, tables = outputs["buckets"]["lake"], outputs["buckets"]["raw"], outputs["tables"]
    own, captures = outputs["queues"]["events"]["url"], outputs["queues"]["captures"]["url"]
    lease = {"Key": {"lock_key": {"S": "etl:transit"}}}
    item = {"test_id": {"S": "a"}}
    put = [{"PutRequest": {"Item": item}}]
    updates = outputs["topics"]["dataset-updates"]
    return [
        Call("s3", "put_object", {"Bucket": lake, "Key": "platform/datasets/a", "Body": b"a"}, True),
        Call("s3", "get_object", {"Bucket": lake, "Key": "platform/datasets/a"}, True),
        Call("s3", "delete_object", {"Bucket": lake, "Key": "platform/datasets/a"}, True),
        Call("s3", "put_object", {"Bucket": lake, "Key": "elsewhere/a", "Body": b"a"}, False),
        Call("s3", "get_object", {"Bucket": lake, "Key": "elsewhere/a"}, False),
        Call("s3", "put_object", {"Bucket": raw, "Key": "landing/raw/source=posts/a", "Body": b"a"}, True),
        Call("s3", "put_object", {"Bucket": raw, "Key": "landing/transit/a", "Body": b"a"}, False),
        Call("s3", "delete_object", {"Bucket": raw, "Key": "landing/raw/source=posts/a"}, False),
        Call("s3", "get_object", {"Bucket": STATE_BUCKET, "Key": "dev/terraform.tfstate"}, False),
        Call("s3", "put_bucket_policy", {"Bucket": lake, "Policy": "{}"}, False),
        Call("s3", "delete_bucket", {"Bucket": lake}, False),
        Call("dynamodb", "get_item", {"TableName": tables["leases"], **lease}, True),
        Call("dynamodb", "put_item", {"TableName": tables["leases"], "Item": lease["Key"]}, True),
        Call("dynamodb", "batch_write_item", {"RequestItems": {tables["results"]: put}}, True),
        Call("dynamodb", "batch_get_item", {"RequestItems": {tables["results"]: {"Keys": [item]}}}, True),
        Call("dynamodb", "get_item", {"TableName": tables["results"], "Key": item}, False),
        Call("dynamodb", "get_item", {"TableName": "other", **lease}, False),
        Call("dynamodb", "scan", {"TableName": tables["results"]}, False),
        Call("dynamodb", "delete_table", {"TableName": tables["results"]}, False),
        Call("sqs", "send_message", {"QueueUrl": captures, "MessageBody": "a"}, True),
        Call("sqs", "receive_message", {"QueueUrl": captures}, True),
        Call("sqs", "receive_message", {"QueueUrl": own}, False),
        Call("sqs", "purge_queue", {"QueueUrl": captures}, False),
        Call("sns", "publish", {"TopicArn": updates, "Message": "a"}, True),
        Call("sns", "publish", {"TopicArn": outputs["topics"]["alarms"], "Message": "a"}, False),
        Call("secretsmanager", "get_secret_value", {"SecretId": "tnt-dev/rate-api-token"}, False),
        Call("iam", "list_roles", {}, False),
        Call("iam", "create_user", {"UserName": "me"}, False),
        Call("ecs", "run_task", {"cluster": "tnt-dev", "taskDefinition": "tnt-dev-run"}, False),
        Call("kms", "schedule_key_deletion", {"KeyId": "alias/tnt-dev"}, False),
        Call("ec2", "describe_instances", {}, False),
    ]


def test_the_run_role_may_do_its_work_and_nothing_else(applied: Applied) -> None:
    """Conditions aren't evaluated by the stand-in: the tests above read them."""
    outputs = applied.second["planned_values"]["outputs"]["platform"]["value"]
    keys = applied.client("sts").assume_role(
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/tnt-dev-run", RoleSessionName="a-run"
    )["Credentials"]
    role = {
        "aws_access_key_id": keys["AccessKeyId"],
        "aws_secret_access_key": keys["SecretAccessKey"],
        "aws_session_token": keys["SessionToken"],
    }
    table = calls(outputs)
    tell(applied.url, "reset-auth", "0")
    try:
        said = [answer_of(applied, call, role) for call in table]
    finally:
        tell(applied.url, "reset-auth", "1000000000")
    wrong = [
        (c.operation, c.arguments, code)
        for c, code in zip(table, said, strict=True)
        if code != ("" if c.allowed else REFUSED)
    ]
    assert wrong == []


def answer_of(applied: Applied, call: Call, keys: dict[str, str]) -> str:
    """Nothing, REFUSED, or the code of another error."""
    try:
        getattr(applied.client(call.service, **keys), call.operation)(**call.arguments)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return REFUSED if status == 403 else str(error.response["Error"]["Code"])
    return ""


def test_destroy_leaves_nothing(applied: Applied) -> None:
    """Last: with objects, versions and delete markers in the buckets, as the tests above left them."""
    lake = applied.client("s3").list_object_versions(Bucket=f"tnt-dev-lake-{ACCOUNT}")
    assert lake["DeleteMarkers"]
    applied.dev.run("destroy", "-auto-approve", "-input=false", AT_ONCE)
    assert applied.dev.run("state", "list") == ""
    ecs = applied.client("ecs")
    clusters = ecs.describe_clusters(clusters=ecs.list_clusters()["clusterArns"])["clusters"]
    left = {
        "buckets": [
            found["Name"]
            for found in applied.client("s3").list_buckets()["Buckets"]
            if found["Name"] != STATE_BUCKET
        ],
        "tables": applied.client("dynamodb").list_tables()["TableNames"],
        "queues": applied.client("sqs").list_queues().get("QueueUrls", []),
        "topics": applied.client("sns").list_topics()["Topics"],
        "roles": [
            r["RoleName"]
            for r in applied.client("iam").list_roles()["Roles"]
            if r["RoleName"].startswith("tnt-dev")
        ],
        "clusters": [c["clusterName"] for c in clusters if c["status"] == "ACTIVE"],
        "databases": applied.client("rds").describe_db_instances()["DBInstances"],
        "balancers": applied.client("elbv2").describe_load_balancers()["LoadBalancers"],
        "logs": applied.client("logs").describe_log_groups()["logGroups"],
        "networks": applied.client("ec2").describe_vpcs(
            Filters=[{"Name": "is-default", "Values": ["false"]}]
        )["Vpcs"],
        "secrets": [s["Name"] for s in applied.client("secretsmanager").list_secrets()["SecretList"]],
    }
    assert {kind: found for kind, found in left.items() if found} == {}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
