"""Dagster as infra/dagster configures it: entrypoint, PostgreSQL, code server, daemon, web UI, runs as ECS tasks."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from tnt_platform.cli.serving import process_group, sandbox_environment
from tnt_platform.services.postgres_server import EmbeddedServer
from tnt_platform_tests.e2e.running_dagster import (
    START_TIMEOUT_S,
    DagsterHome,
    RunningDagster,
    _ready,
)
from tnt_platform_tests.infra.aws_stand_in import ADMINISTRATOR, REGION
from tnt_platform_tests.infra.ecs_agent import EcsAgent, path_of_programs
from tnt_platform_tests.infra.terraform import INFRA
from tnt_platform_tests.ports import free_port

CLUSTER = "tnt-test"
RUN_LOGS = {"TNT_RUN_LOG_BUCKET": "run-logs"}
# What is small in production would be long in a test.
QUICK = {
    "start_timeout_seconds: 600": "start_timeout_seconds: 60",
    "poll_interval_seconds: 30": "poll_interval_seconds: 3",
    "cancel_timeout_seconds: 300": "cancel_timeout_seconds: 60",
}


@dataclass(frozen=True)
class OnEcs:
    """A running platform, its tasks' host and its ECS."""

    dagster: RunningDagster
    agent: EcsAgent
    ecs: Any

    def tasks(self) -> list[dict[str, Any]]:
        arns = self.ecs.list_tasks(cluster=CLUSTER)["taskArns"]
        found: list[dict[str, Any]] = (
            self.ecs.describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"] if arns else []
        )
        return found


def client(service: str, url: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=ADMINISTRATOR["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ADMINISTRATOR["AWS_SECRET_ACCESS_KEY"],
    )


@contextlib.contextmanager
def dagster_on_ecs(
    home: DagsterHome, url: str, api_url: str, *, applied: Mapping[str, str] | None = None
) -> Iterator[OnEcs]:
    """Everything that the services of modules/compute are, as processes; runs are tasks of the stand-in.

    `applied` is the daemon's environment as Terraform made it; without it a small cluster is made here.
    """
    with contextlib.ExitStack() as opened:
        database = EmbeddedServer.join(home.folder / "postgres")
        opened.callback(database.leave)
        port = opened.enter_context(_tcp_to(Path(str(database.url.query["host"])) / ".s.PGSQL.5432"))
        local = {**ADMINISTRATOR, **_database(port), **sandbox_environment(api_url), "AWS_ENDPOINT_URL": url}
        local |= {"PGSSLMODE": "disable", "TNT_HOME": str(home.folder / ".tnt")}
        tasks_environment = {**home.environment(api_url), **(applied or RUN_LOGS), **local}
        launcher = {} if applied else _made_in_aws(url, tasks_environment)
        ports = {name: free_port() for name in ("code", "ui")}
        environment = {**tasks_environment, **launcher, "DAGSTER_HOME": str(home.folder / "instance")}
        workspace = home.folder / "workspace.yaml"
        text = (
            (INFRA / "dagster" / "workspace.yaml")
            .read_text(encoding="utf-8")
            .replace("4000", str(ports["code"]))
        )
        workspace.write_text(text, encoding="utf-8")
        environment["TNT_CODE_SERVER_HOST"] = "127.0.0.1"
        environment["PATH"] = path_of_programs()
        entrypoint = _quick_entrypoint(home.folder / "image")

        cluster = environment["TNT_CLUSTER"].rpartition("/")[2]
        instead = {**tasks_environment} if applied else {}
        agent = EcsAgent(url, cluster, dict(os.environ), instead, home.folder / "tasks.log").start()
        opened.callback(agent.stop)
        commands = {
            "code": [
                "dagster",
                "code-server",
                "start",
                "-h",
                "127.0.0.1",
                "-p",
                str(ports["code"]),
                "-m",
                "tnt_platform.definitions",
                "--location-name",
                "tnt_platform",
            ],
            "daemon": ["dagster-daemon", "run", "-w", str(workspace)],
            "ui": ["dagster-webserver", "-h", "127.0.0.1", "-p", str(ports["ui"]), "-w", str(workspace)],
        }
        alive = []
        for command in commands.values():
            process = opened.enter_context(
                process_group([str(entrypoint), *command], environment, log=home.log)
            )
            alive.append(process)
            _wait_for_first(process, ports["code"])
        dagster = RunningDagster(
            home,
            f"http://127.0.0.1:{ports['ui']}",
            alive=lambda: all(p.poll() is None for p in alive),
            kill=lambda: None,
        )
        dagster.wait_for("Dagster to be ready", lambda: _ready(dagster), START_TIMEOUT_S)
        yield OnEcs(dagster, agent, client("ecs", url))


def _database(port: int) -> dict[str, str]:
    return {
        "DAGSTER_POSTGRES_HOST": "127.0.0.1",
        "DAGSTER_POSTGRES_PORT": str(port),
        "DAGSTER_POSTGRES_USER": "postgres",
        "DAGSTER_POSTGRES_PASSWORD": "trusted",
        "DAGSTER_POSTGRES_DB": "postgres",
    }


def _made_in_aws(url: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What Terraform makes, made small, and what the launcher is told of it."""
    ec2, ecs = client("ec2", url), client("ecs", url)
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/20")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="runs", Description="runs", VpcId=vpc)["GroupId"]
    client("s3", url).create_bucket(Bucket=RUN_LOGS["TNT_RUN_LOG_BUCKET"])
    cluster = ecs.create_cluster(clusterName=CLUSTER)["cluster"]["clusterArn"]
    definition = ecs.register_task_definition(
        family="tnt-test-run",
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="1024",
        memory="2048",
        containerDefinitions=[
            {
                "name": "run",
                "image": "tnt@sha256:0",
                "cpu": 1024,
                "memory": 2048,
                "environment": [{"name": name, "value": value} for name, value in environment.items()],
            }
        ],
    )["taskDefinition"]["taskDefinitionArn"]
    return {
        "TNT_CLUSTER": cluster,
        "TNT_RUN_TASK_DEFINITION": definition,
        "TNT_RUN_SUBNETS": json.dumps([subnet]),
        "TNT_RUN_SECURITY_GROUPS": json.dumps([group]),
        "TNT_RUN_CPU": "1024",
        "TNT_RUN_MEMORY": "2048",
    }


def _quick_entrypoint(folder: Path) -> Path:
    """infra/dagster with shorter waits; each of them has to be there to be shortened."""
    folder.mkdir()
    text = (INFRA / "dagster" / "dagster.yaml").read_text(encoding="utf-8")
    for production, test in QUICK.items():
        assert production in text
        text = text.replace(production, test)
    (folder / "dagster.yaml").write_text(text, encoding="utf-8")
    entrypoint = folder / "entrypoint.sh"
    entrypoint.write_text((INFRA / "dagster" / "entrypoint.sh").read_text(encoding="utf-8"), encoding="utf-8")
    entrypoint.chmod(0o755)
    return entrypoint


def _wait_for_first(process: Any, port: int) -> None:
    """The daemon and the UI ask the code server as they start."""
    deadline = threading.Event()
    for _ in range(START_TIMEOUT_S * 2):
        assert process.poll() is None, "it stopped as it started"
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        deadline.wait(0.5)
    raise AssertionError("the code server doesn't listen")


@contextlib.contextmanager
def _tcp_to(path: Path) -> Iterator[int]:
    """A port on which the embedded PostgreSQL, which has a Unix socket only, is reached as RDS is."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(path))
                for pair in ((caller, server), (server, caller)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()
