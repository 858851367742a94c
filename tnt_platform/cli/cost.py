"""`tnt cost`: the monthly cost of each AWS environment when it is idle."""

from __future__ import annotations

import click

from tnt_platform.cli.tables import Output, printing
from tnt_platform.services.cost import TOGETHER, Environments, Prices, idle_usd


@click.command()
@printing
def cost(out: Output) -> None:
    """Print the monthly cost of each idle environment as a Markdown table (from prices.yaml and environments.yaml)."""
    prices, environments = Prices.load(), Environments.load()
    named = environments.by_name()
    out.put("region", prices.region)
    out.put("as_of", prices.as_of)
    out.put(
        "usd_per_month",
        {name: idle_usd(each, environments.polling, prices) for name, each in named.items()},
    )
    out.print(idle_table())


def idle_table() -> str:
    """Return the table of docs/operations.md: one row per kind of cost, one column per environment."""
    prices, environments = Prices.load(), Environments.load()
    named = environments.by_name()
    costs = [idle_usd(environment, environments.polling, prices) for environment in named.values()]
    heading = f"US dollars a month, {prices.region}, {prices.as_of}"
    lines = [_row(heading, list(named)), "|---|" + "---:|" * len(named)]
    for item in costs[0]:
        cells = [f"${cost[item]:,.0f}" if cost[item] else "" for cost in costs]
        bold = "**" if item == TOGETHER else ""
        lines.append(_row(f"{bold}{item}{bold}", [f"{bold}{cell}{bold}" for cell in cells]))
    return "\n".join(lines)


def _row(first: str, cells: list[str]) -> str:
    return f"| {first} | {' | '.join(cells)} |"
