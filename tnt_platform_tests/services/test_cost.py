from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench import cost as bench
from tnt_platform.cli.cost import idle_table
from tnt_platform.errors import ConfigError, PermanentError
from tnt_platform.services.cost import (
    TOGETHER,
    WITHOUT_SERVICES,
    CostBreakdown,
    Environments,
    Hardware,
    Prices,
    cost_usd,
    idle_usd,
)
from tnt_platform_tests.paths import REPOSITORY
from tnt_platform_tests.rounds import rounds

# Beside one read and some messages a file, four dates ask for about so much; and a third more.
MOST_READS, MOST_WRITES, MOST_LISTS, MOST_SQS_A_FILE = 1_000, 225, 75, 1.5
SHIPPED = REPOSITORY / "tnt_platform" / "services" / "prices.yaml"


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices.load()


def test_the_known_figure_of_one_task_a_file_comes_out() -> None:
    """1,000 tasks of 1 vCPU and 2 GB for 150 s were billed at about $2.05."""
    cost = cost_usd(
        task_seconds=150 * 1000, tasks=1000, vcpu=1, memory_gb=2, s3_writes=0, s3_reads=0, s3_lists=0
    )
    assert cost.total == pytest.approx(2.05, abs=0.01)
    assert cost.per_1000_files(1000) == pytest.approx(cost.total)


def test_one_task_for_all_files_meets_the_target_of_two_cents() -> None:
    """1,000 files read and a few objects written by one task of two minutes."""
    cost = cost_usd(task_seconds=120, vcpu=1, memory_gb=2, s3_writes=60, s3_reads=1010, s3_lists=5)
    assert cost.per_1000_files(1000) == pytest.approx(0.00237, abs=1e-5)


def test_each_kind_of_request_is_priced_by_its_own_unit(prices: Prices) -> None:
    cost = cost_usd(
        task_seconds=0,
        vcpu=1,
        memory_gb=2,
        s3_writes=1000,
        s3_reads=1000,
        s3_lists=1000,
        dynamodb_writes=1_000_000,
        dynamodb_reads=1_000_000,
        sqs_requests=1_000_000,
        prices=prices,
    )
    assert cost.compute == 0
    assert cost.s3_requests == pytest.approx(0.005 + 0.005 + 0.0004)
    assert cost.dynamodb == pytest.approx(0.625 + 0.125)
    assert cost.sqs == pytest.approx(0.40)
    assert cost.requests == cost.total == pytest.approx(1.1604)


@pytest.mark.parametrize(("ran_s", "billed_s"), [(0.2, 60), (60, 60), (60.01, 61), (3600, 3600)])
def test_a_task_is_billed_by_the_second_and_for_a_minute_at_least(
    prices: Prices, ran_s: float, billed_s: int
) -> None:
    cost = cost_usd(
        task_seconds=ran_s, vcpu=2, memory_gb=4, s3_writes=0, s3_reads=0, s3_lists=0, prices=prices
    )
    assert cost.total == pytest.approx(billed_s / 3600 * (2 * 0.04048 + 4 * 0.004445))


def test_a_short_task_a_file_pays_a_minute_for_each_and_a_share_of_one_task_pays_its_seconds(
    prices: Prices,
) -> None:
    def compute(tasks: int) -> float:
        return cost_usd(
            task_seconds=500.5,
            tasks=tasks,
            vcpu=1,
            memory_gb=0,
            s3_writes=0,
            s3_reads=0,
            s3_lists=0,
            prices=prices,
        ).compute

    a_second = 0.04048 / 3600
    assert compute(1000) == pytest.approx(60_000 * a_second)
    assert compute(1) == pytest.approx(501 * a_second)
    assert compute(0) == pytest.approx(500.5 * a_second)


def test_arm_and_spot_are_cheaper_than_the_list_price(prices: Prices) -> None:
    kinds: tuple[Hardware, ...] = ("x86", "arm", "x86_spot", "arm_spot")
    totals = [
        cost_usd(
            task_seconds=3600,
            vcpu=1,
            memory_gb=1,
            s3_writes=0,
            s3_reads=0,
            s3_lists=0,
            hardware=kind,
            prices=prices,
        ).total
        for kind in kinds
    ]
    assert totals == pytest.approx([0.044925, 0.03594, 0.0134775, 0.010782])


counts = st.integers(0, 10**9)


@given(seconds=st.floats(0, 1e6), writes=counts, reads=counts, units=counts, more=st.integers(1, 10**6))
def test_more_work_never_costs_less(
    prices: Prices, seconds: float, writes: int, reads: int, units: int, more: int
) -> None:
    def total(extra: int) -> float:
        return cost_usd(
            task_seconds=seconds + extra,
            vcpu=1,
            memory_gb=2,
            s3_writes=writes + extra,
            s3_reads=reads + extra,
            s3_lists=extra,
            dynamodb_writes=units + extra,
            sqs_requests=extra,
            prices=prices,
        ).total

    assert 0 <= total(0) <= total(more)


def test_no_file_has_no_price_a_file() -> None:
    assert CostBreakdown(1.0, 0.0, 0.0, 0.0).per_1000_files(0) is None


@pytest.mark.parametrize("figure", [-1, float("nan"), float("inf")])
def test_an_impossible_figure_is_refused_by_name(prices: Prices, figure: float) -> None:
    with pytest.raises(PermanentError, match="task_seconds"):
        cost_usd(task_seconds=figure, vcpu=1, memory_gb=2, s3_writes=0, s3_reads=0, s3_lists=0, prices=prices)


def test_the_prices_say_where_and_when_they_held(prices: Prices) -> None:
    assert prices.region == "us-east-1"
    assert prices.as_of.year >= 2024
    assert "Fargate" in prices.source


def test_other_prices_can_be_loaded(tmp_path: Path) -> None:
    stated = yaml.safe_load(SHIPPED.read_text())
    stated["sqs"]["requests_per_million"] = 4.0
    (tmp_path / "prices.yaml").write_text(yaml.safe_dump(stated))
    other = Prices.load(tmp_path / "prices.yaml")
    cost = cost_usd(
        task_seconds=0,
        vcpu=1,
        memory_gb=2,
        s3_writes=0,
        s3_reads=0,
        s3_lists=0,
        sqs_requests=10**6,
        prices=other,
    )
    assert cost.total == 4.0


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda text: text.replace("sqs:", "sqss:"), "sqss: Extra inputs"),
        (lambda text: text.replace("0.40\n", "-1\n"), "sqs.requests_per_million"),
        (lambda text: text.replace("0.40\n", "cheap\n"), "sqs.requests_per_million"),
        (lambda text: text.replace("region: us-east-1\n", ""), "region: Field required"),
        (lambda text: text + "\n\t{", "prices.yaml"),
        (lambda text: "", "prices.yaml"),
    ],
)
def test_a_spoilt_price_file_is_refused_with_the_place(
    tmp_path: Path, spoil: Callable[[str], str], complaint: str
) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(spoil(SHIPPED.read_text()))
    with pytest.raises(ConfigError, match=complaint):
        Prices.load(path)


def test_a_missing_price_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        Prices.load(tmp_path / "absent.yaml")


@pytest.fixture(scope="module")
def environments() -> Environments:
    return Environments.load()


def test_the_idle_cost_of_an_environment_is_the_sum_of_what_it_keeps_running(
    prices: Prices, environments: Environments
) -> None:
    """Development, by hand: 2.5 vCPU and 7 GB, a gateway, three addresses, a balancer, the smallest database."""
    costs = idle_usd(environments.dev, environments.polling, prices)
    assert costs["services on Fargate"] == pytest.approx(730 * (2.5 * 0.04048 + 7 * 0.004445))
    assert costs["NAT gateways"] == pytest.approx(32.85)
    assert costs["public addresses"] == pytest.approx(10.95)
    assert costs["database"] == pytest.approx(730 * 0.016 + 20 * 0.115)
    assert costs["interface endpoints"] == 0
    parts = [usd for name, usd in costs.items() if name not in (TOGETHER, WITHOUT_SERVICES)]
    assert costs[TOGETHER] == pytest.approx(sum(parts))
    assert costs[WITHOUT_SERVICES] < costs[TOGETHER] - costs["services on Fargate"]


def test_a_second_zone_doubles_the_database_and_endpoints_count_in_each_zone(
    prices: Prices, environments: Environments
) -> None:
    costs = idle_usd(environments.prod, environments.polling, prices)
    assert costs["database"] == pytest.approx(2 * (730 * 0.065 + 50 * 0.115))
    assert costs["interface endpoints"] == pytest.approx(7 * 3 * 0.01 * 730)


def test_a_database_without_price_is_named(prices: Prices, environments: Environments) -> None:
    database = environments.dev.database.model_copy(update={"instance_class": "db.x1.huge"})
    with pytest.raises(ConfigError, match=r"db\.x1\.huge.*db\.t4g\.micro"):
        idle_usd(environments.dev.model_copy(update={"database": database}), environments.polling, prices)


@pytest.mark.parametrize("name", ["dev", "staging", "prod"])
def test_the_environments_that_are_priced_are_those_that_terraform_makes(
    environments: Environments, name: str
) -> None:
    made = (REPOSITORY / "infra" / "envs" / name / "main.tf").read_text(encoding="utf-8")
    priced = environments.by_name()[name]
    for role, service in priced.services.items():
        found = re.search(rf"^ +{role} += {{ cpu = (\d+), memory = (\d+) }}$", made, re.MULTILINE)
        assert found, role
        assert (service.cpu, service.memory_mb) == (int(found[1]), int(found[2]))
    assert priced.services["api"].tasks == _number(made, r"api_tasks += { least = (\d+)")
    assert priced.nat_gateways == _number(made, r"nat_gateways = (\d+)")
    assert priced.zones == len(re.findall(r'"us-east-1[a-z]"', made))
    endpoints = re.search(r"interface_endpoints = \[(.*?)\]", made)
    assert endpoints
    assert priced.interface_endpoints == len(re.findall(r'"', endpoints[1])) / 2
    database = priced.database
    assert f'instance_class = "{database.instance_class}"' in made
    assert database.storage_gb == _number(made, r"storage_gb = (\d+)")
    assert f"multi_az = {str(database.multi_az).lower()}" in made


def _number(text: str, pattern: str) -> int:
    found = re.search(pattern, text)
    assert found, pattern
    return int(found[1])


def test_the_tables_of_the_operations_page_are_those_that_are_printed() -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    assert idle_table() in page
    figures = json.loads((REPOSITORY / "bench" / "results" / "cost.json").read_text(encoding="utf-8"))
    assert bench.markdown(figures) in page
    assert figures["files"] == 1000
    assert (
        max(part["compute_and_requests"] for part in figures["usd_per_1000_files"].values())
        <= bench.TARGET_USD
    )


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_small_files_ask_for_no_more_than_stated() -> None:
    """Processes and requests are counted anew, as `python -m bench.cost` does; dollars only with all rounds."""
    found = bench.measure(rounds(1000))
    figures = bench.report(found)
    assert found.files == rounds(1000)
    assert found.of("s3", bench.READS) <= found.files + MOST_READS, figures["requests"]
    assert found.of("s3", bench.WRITES) <= MOST_WRITES, figures["requests"]
    assert found.of("s3", bench.LISTS) <= MOST_LISTS, figures["requests"]
    assert found.of("sqs") <= MOST_SQS_A_FILE * found.files, figures["requests"]
    assert found.write_units <= found.rows, "an item a row, of 1 KB at most"
    assert found.read_units == 0, "nothing of a new date can be in the table"
    if found.files == 1000:
        assert max(found.per_1000("x86"), found.per_1000("x86_spot")) <= bench.TARGET_USD, figures
