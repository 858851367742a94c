"""Price what runs on AWS by the list prices in prices.yaml: a piece of work, and an environment without work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tnt_platform.errors import ConfigError, PermanentError

Hardware: TypeAlias = Literal["x86", "arm", "x86_spot", "arm_spot"]
Usd: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
S = TypeVar("S", bound=BaseModel)


class Strict(BaseModel):
    """A section of a data file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FargatePrices(Strict):
    """US dollars per hour of one virtual CPU and of one GB of memory."""

    vcpu_hour: Usd
    memory_gb_hour: Usd


class _Fargate(Strict):
    minimum_billed_s: Annotated[int, Field(ge=0)]
    start_s: Annotated[int, Field(ge=0)]
    x86: FargatePrices
    arm: FargatePrices
    x86_spot: FargatePrices
    arm_spot: FargatePrices


class _S3(Strict):
    writes_per_1000: Usd
    lists_per_1000: Usd
    reads_per_1000: Usd


class _DynamoDb(Strict):
    write_units_per_million: Usd
    read_units_per_million: Usd


class _Sqs(Strict):
    requests_per_million: Usd


class AllDay(Strict):
    """US dollars for what runs whether or not there is work, per hour or month."""

    hours_in_month: Annotated[float, Field(gt=0)]
    nat_gateway_hour: Usd
    public_address_hour: Usd
    load_balancer_hour: Usd
    load_balancer_unit_hour: Usd
    interface_endpoint_hour: Usd
    database_hour: dict[str, Usd]
    database_gb_month: Usd
    second_zone: Annotated[float, Field(ge=1)]
    secret_month: Usd
    key_month: Usd
    alarm_month: Usd
    private_zone_month: Usd


class Prices(Strict):
    """The list prices of one region on one day, with their source."""

    region: str
    as_of: date
    source: str
    fargate: _Fargate
    s3: _S3
    dynamodb: _DynamoDb
    sqs: _Sqs
    all_day: AllDay

    @classmethod
    def load(cls, path: Path | None = None) -> Prices:
        """Read the prices shipped with the platform, or those of another file of the same form.

        Raises:
            ConfigError: the file is missing or malformed, or its fields are not those expected.
        """
        return read_strictly(cls, "prices.yaml", path)


@dataclass(frozen=True)
class CostBreakdown:
    """US dollars by purpose."""

    compute: float
    s3_requests: float
    dynamodb: float
    sqs: float

    @property
    def total(self) -> float:
        return math.fsum((self.compute, self.s3_requests, self.dynamodb, self.sqs))

    @property
    def requests(self) -> float:
        """Sum everything but compute."""
        return math.fsum((self.s3_requests, self.dynamodb, self.sqs))

    def per_1000_files(self, file_count: int) -> float | None:
        """Return the total per 1,000 of `file_count` files; None if there was no file."""
        return self.total / file_count * 1000 if file_count > 0 else None


def cost_usd(
    *,
    task_seconds: float,
    vcpu: float,
    memory_gb: float,
    s3_writes: int,
    s3_reads: int,
    s3_lists: int,
    dynamodb_writes: int = 0,
    dynamodb_reads: int = 0,
    sqs_requests: int = 0,
    tasks: int = 1,
    hardware: Hardware = "x86",
    prices: Prices | None = None,
) -> CostBreakdown:
    """Price `tasks` Fargate tasks that ran `task_seconds` in total, and the requests they made.

    Fargate bills whole seconds and at least a minimum per started task, so one second in a task of its own
    costs a minute. With `tasks=0` the seconds are a share of a task that is billed elsewhere and count as
    they are. 0 seconds cost nothing: no task ran, as on a laptop.
    `dynamodb_writes` and `dynamodb_reads` are request units (1 KB written, 4 KB read), not calls.
    `prices` defaults to `Prices.load()`.

    Raises:
        PermanentError: a number is negative or not finite.
        ConfigError: the prices cannot be read.
    """
    _require_valid(
        task_seconds=task_seconds,
        vcpu=vcpu,
        memory_gb=memory_gb,
        s3_writes=s3_writes,
        s3_reads=s3_reads,
        s3_lists=s3_lists,
        dynamodb_writes=dynamodb_writes,
        dynamodb_reads=dynamodb_reads,
        sqs_requests=sqs_requests,
        tasks=tasks,
    )
    prices = prices or Prices.load()
    hour: FargatePrices = getattr(prices.fargate, hardware)
    billed_s = _billed_s(task_seconds, tasks, prices.fargate.minimum_billed_s)
    return CostBreakdown(
        compute=billed_s / 3600 * (vcpu * hour.vcpu_hour + memory_gb * hour.memory_gb_hour),
        s3_requests=s3_writes / 1000 * prices.s3.writes_per_1000
        + s3_lists / 1000 * prices.s3.lists_per_1000
        + s3_reads / 1000 * prices.s3.reads_per_1000,
        dynamodb=dynamodb_writes / 1e6 * prices.dynamodb.write_units_per_million
        + dynamodb_reads / 1e6 * prices.dynamodb.read_units_per_million,
        sqs=sqs_requests / 1e6 * prices.sqs.requests_per_million,
    )


def _billed_s(task_seconds: float, tasks: int, minimum_s: int) -> float:
    if not task_seconds or not tasks:
        return task_seconds
    return max(math.ceil(task_seconds), tasks * minimum_s)


def _require_valid(**numbers: float) -> None:
    for name, number in numbers.items():
        if not math.isfinite(number) or number < 0:
            raise PermanentError(f"{name} is {number}: it must be 0 or more to be priced")


def read_strictly(kind: type[S], name: str, path: Path | None = None) -> S:
    """Read a data file of this package, or `path` of the same form.

    Raises:
        ConfigError: the file is missing or malformed, or its fields are not those expected.
    """
    source = path or files(__package__).joinpath(name)
    try:
        return kind.model_validate(yaml.safe_load(source.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        fault = _faults(error) if isinstance(error, ValidationError) else str(error)
        raise ConfigError(f"{source}: {fault}; expected the fields of the {name} in services/") from error


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()[:5]
    )


Count = Annotated[int, Field(ge=0)]
TOGETHER = "together"
WITHOUT_SERVICES = "with `running = false`"


class Service(Strict):
    """Fargate tasks of one kind that run all day."""

    cpu: Count
    memory_mb: Count
    tasks: Count


class Database(Strict):
    """An RDS instance; with `multi_az` there is a standby."""

    instance_class: str
    storage_gb: Count
    multi_az: bool


class Environment(Strict):
    """What one environment keeps running."""

    services: dict[str, Service]
    zones: Count
    nat_gateways: Count
    interface_endpoints: Count
    database: Database
    secrets: Count
    alarms: Count


class Polling(Strict):
    """How often sensors poll for work, and the requests per poll."""

    sensors: Count
    interval_s: Annotated[int, Field(ge=1)]
    s3_reads: Count
    s3_lists: Count
    sqs_requests: Count


class Environments(Strict):
    """All environments, and the polling that they have in common."""

    dev: Environment
    staging: Environment
    prod: Environment
    polling: Polling

    @classmethod
    def load(cls, path: Path | None = None) -> Environments:
        """Read the environments that infra/envs makes; raises as `read_strictly`."""
        return read_strictly(cls, "environments.yaml", path)

    def by_name(self) -> Mapping[str, Environment]:
        """Return the environments by their names."""
        return {"dev": self.dev, "staging": self.staging, "prod": self.prod}


def idle_usd(environment: Environment, polling: Polling, prices: Prices) -> dict[str, float]:
    """Price a month without work: US dollars by purpose, their sum, and the sum with the services stopped.

    Raises:
        ConfigError: the instance class of the database has no price.
    """
    day, hours = prices.all_day, prices.all_day.hours_in_month
    addresses = environment.nat_gateways + environment.zones
    costs = {
        "services on Fargate": _services(environment, prices),
        "NAT gateways": environment.nat_gateways * day.nat_gateway_hour * hours,
        "public addresses": addresses * day.public_address_hour * hours,
        "load balancer with one capacity unit": (day.load_balancer_hour + day.load_balancer_unit_hour)
        * hours,
        "database": _database(environment.database, prices),
        "interface endpoints": environment.interface_endpoints
        * environment.zones
        * day.interface_endpoint_hour
        * hours,
        "secrets, key, alarms, private zone": environment.secrets * day.secret_month
        + day.key_month
        + environment.alarms * day.alarm_month
        + day.private_zone_month,
        "sensors that poll for work": _polling(polling, prices),
    }
    together = math.fsum(costs.values())
    stopped = together - costs["services on Fargate"] - costs["sensors that poll for work"]
    return {**costs, TOGETHER: together, WITHOUT_SERVICES: stopped}


def _services(environment: Environment, prices: Prices) -> float:
    hour, hours = prices.fargate.x86, prices.all_day.hours_in_month
    return hours * math.fsum(
        one.tasks * (one.cpu / 1024 * hour.vcpu_hour + one.memory_mb / 1024 * hour.memory_gb_hour)
        for one in environment.services.values()
    )


def _database(database: Database, prices: Prices) -> float:
    day = prices.all_day
    if database.instance_class not in day.database_hour:
        known = ", ".join(day.database_hour)
        raise ConfigError(
            f"prices.yaml has no price of {database.instance_class}; known: {known}; add it to all_day.database_hour"
        )
    one = (
        day.database_hour[database.instance_class] * day.hours_in_month
        + database.storage_gb * day.database_gb_month
    )
    return one * (day.second_zone if database.multi_az else 1)


def _polling(polling: Polling, prices: Prices) -> float:
    polls = polling.sensors * prices.all_day.hours_in_month * 3600 / polling.interval_s
    return cost_usd(
        task_seconds=0,
        vcpu=0,
        memory_gb=0,
        s3_writes=0,
        s3_reads=round(polls * polling.s3_reads),
        s3_lists=round(polls * polling.s3_lists),
        sqs_requests=round(polls * polling.sqs_requests),
        prices=prices,
    ).total
