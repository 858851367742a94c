"""What an environment on AWS costs in a month without work: environments.yaml by prices.yaml."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tnt_platform.errors import ConfigError
from tnt_platform.services.cost import Prices, Strict, cost_usd, read_strictly

Count = Annotated[int, Field(ge=0)]
TOGETHER = "together"
WITHOUT_SERVICES = "with `running = false`"


class Service(Strict):
    """Fargate tasks of one kind that run all day."""

    cpu: Count
    memory_mb: Count
    tasks: Count


class Database(Strict):
    """An RDS instance; `multi_az` has a second one waiting."""

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


class Looks(Strict):
    """How often sensors look whether there is work, and the requests of one look."""

    sensors: Count
    interval_s: Annotated[int, Field(ge=1)]
    s3_reads: Count
    s3_lists: Count
    sqs_requests: Count


class Environments(Strict):
    """All environments, and what they do alike."""

    dev: Environment
    staging: Environment
    prod: Environment
    looks: Looks

    @classmethod
    def load(cls, path: Path | None = None) -> Environments:
        """Read the environments that infra/envs makes; raises as `read_strictly`."""
        return read_strictly(cls, "environments.yaml", path)

    def by_name(self) -> Mapping[str, Environment]:
        """The environments."""
        return {"dev": self.dev, "staging": self.staging, "prod": self.prod}


def idle_usd(environment: Environment, looks: Looks, prices: Prices) -> dict[str, float]:
    """US dollars a month by what they go into, then `together` and what is left without the services.

    Raises:
        ConfigError: the class of the database has no price.
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
        "sensors that look for work": _looks(looks, prices),
    }
    together = math.fsum(costs.values())
    stopped = together - costs["services on Fargate"] - costs["sensors that look for work"]
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


def _looks(looks: Looks, prices: Prices) -> float:
    times = looks.sensors * prices.all_day.hours_in_month * 3600 / looks.interval_s
    return cost_usd(
        task_seconds=0,
        vcpu=0,
        memory_gb=0,
        s3_writes=0,
        s3_reads=round(times * looks.s3_reads),
        s3_lists=round(times * looks.s3_lists),
        sqs_requests=round(times * looks.sqs_requests),
        prices=prices,
    ).total
