"""moto's server with the few answers that Terraform's provider and ECS need and moto doesn't give by itself."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from logging import ERROR, getLogger
from typing import Any
from urllib.request import Request, urlopen

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.budgets.responses import BudgetsResponse
from moto.dynamodb.responses import DynamoHandler
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.s3.models import FakeDeleteMarker
from moto.secretsmanager.responses import SecretsManagerResponse
from moto.server import ThreadedMotoServer
from moto.sns.responses import SNSResponse
from moto.sqs.models import Queue

ACCOUNT = "123456789012"
REGION = "us-east-1"
# moto takes any key for the account's administrator as long as it doesn't enforce IAM.
ADMINISTRATOR = {
    "AWS_ACCESS_KEY_ID": "AKIATEST",
    "AWS_SECRET_ACCESS_KEY": "nothing-secret",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
}


@contextlib.contextmanager
def running_stand_in() -> Iterator[str]:
    """Serve an empty AWS on a free port; gives its URL."""
    getLogger("werkzeug").setLevel(ERROR)
    with contextlib.ExitStack() as undo:
        _set(undo, "MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
        _teach_resources(undo)
        _teach_tags(undo)
        _teach_queue_policies(undo)
        _teach_secure_transport(undo)
        # Deleting a delete marker, as a destroy does, would fail with a 500: moto disposes of it like of an object.
        _replace(undo, FakeDeleteMarker, "dispose", lambda self: None)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        try:
            host, port = server.get_host_and_port()
            tell(f"http://{host}:{port}", "reset")
            yield f"http://{host}:{port}"
        finally:
            server.stop()


def tell(url: str, what: str, body: str = "") -> None:
    """Give moto an order of its own API, such as `reset`."""
    # Anything but a form, which moto would read as one.
    kind = {"Content-Type": "application/octet-stream"}
    urlopen(
        Request(f"{url}/moto-api/{what}", data=body.encode(), headers=kind, method="POST"), timeout=30
    ).close()


def client_environment(url: str) -> dict[str, str]:
    """What makes AWS's clients and Terraform talk to the stand-in, as its administrator."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TNT_", "TF_"))
    }
    # One call that the stand-in can't answer would be tried for minutes.
    return {
        **clean,
        **ADMINISTRATOR,
        "AWS_ENDPOINT_URL": url,
        "AWS_MAX_ATTEMPTS": "2",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _replace(undo: contextlib.ExitStack, owner: Any, name: str, new: Any) -> None:
    had = name in vars(owner)
    old = getattr(owner, name, None)
    setattr(owner, name, new)
    undo.callback((lambda: setattr(owner, name, old)) if had else (lambda: delattr(owner, name)))


def _set(undo: contextlib.ExitStack, variable: str, value: str) -> None:
    had = os.environ.get(variable)
    os.environ[variable] = value
    undo.callback(lambda: os.environ.pop(variable) if had is None else os.environ.update({variable: had}))


def _teach_resources(undo: contextlib.ExitStack) -> None:
    """With IAM enforced moto compares these services' calls with the resource `*`; let them name what they touch."""

    def table(self: Any) -> str:
        name = self.body.get("TableName") or next(iter(self.body.get("RequestItems", {})), "*")
        return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"

    def topic(self: Any) -> str:
        return self._get_param("TopicArn") or "*"

    def secret(self: Any) -> str:
        return self._get_param("SecretId") or "*"

    def task_definition(self: Any) -> str:
        return self._get_param("taskDefinition") if self._get_action() == "RunTask" else "*"

    for handler, resource in (
        (DynamoHandler, table),
        (SNSResponse, topic),
        (SecretsManagerResponse, secret),
        (EC2ContainerServiceResponse, task_definition),
    ):
        _replace(undo, handler, "_determine_resource", resource)


def _teach_tags(undo: contextlib.ExitStack) -> None:
    """Terraform reads the tags of whatever it has made; these two services answer with an error."""
    _replace(
        undo, ApplicationAutoScalingResponse, "list_tags_for_resource", lambda self: json.dumps({"Tags": {}})
    )
    _replace(undo, ApplicationAutoScalingResponse, "tag_resource", lambda self: "{}")
    _replace(undo, BudgetsResponse, "list_tags_for_resource", lambda self: json.dumps({"ResourceTags": []}))
    _replace(undo, BudgetsResponse, "describe_subscribers_for_notification", _subscribers)


def _subscribers(self: Any) -> str:
    account, name, asked = (self._get_param(p) for p in ("AccountId", "BudgetName", "Notification"))
    same = ("NotificationType", "ComparisonOperator", "Threshold")
    for notification in self.backend.budgets[account][name].notifications:
        if all(notification.details[field] == asked[field] for field in same):
            return json.dumps({"Subscribers": notification.subscribers})
    return json.dumps({"Subscribers": []})


def _teach_queue_policies(undo: contextlib.ExitStack) -> None:
    """moto forgets a queue's policy when another attribute is set, and never knew RedriveAllowPolicy."""
    set_attributes, attributes = Queue._set_attributes, Queue.attributes.fget
    assert attributes is not None

    def remember(self: Any, given: dict[str, Any], now: float | None = None) -> None:
        policy = getattr(self, "policy", None)
        set_attributes(self, given, now)
        if "Policy" not in given:
            self.policy = policy

    def with_allow_policy(self: Any) -> dict[str, Any]:
        result: dict[str, Any] = attributes(self)
        if not result["RedriveAllowPolicy"]:
            del result["RedriveAllowPolicy"]
        return result

    _replace(undo, Queue, "redrive_allow_policy", "")
    _replace(undo, Queue, "BASE_ATTRIBUTES", [*Queue.BASE_ATTRIBUTES, "RedriveAllowPolicy"])

    _replace(undo, Queue, "_set_attributes", remember)
    _replace(undo, Queue, "attributes", property(with_allow_policy))


def _teach_secure_transport(undo: contextlib.ExitStack) -> None:
    """moto doesn't evaluate conditions, so "deny without TLS" denies everything. Our HTTP stands for HTTPS here."""
    judge = IAMPolicyStatement.is_action_permitted

    def judged(self: Any, *given: Any, **named: Any) -> PermissionResult:
        if self._statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}:
            return PermissionResult.NEUTRAL
        return judge(self, *given, **named)

    _replace(undo, IAMPolicyStatement, "is_action_permitted", judged)
