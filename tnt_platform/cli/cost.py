"""`tnt cost`: what each environment on AWS costs in a month in which nothing arrives."""

from __future__ import annotations

import click

from tnt_platform.services.cost import TOGETHER, Environments, Prices, idle_usd


@click.command()
def cost() -> None:
    """Price what each environment keeps running, as a Markdown table (prices.yaml, environments.yaml)."""
    click.echo(idle_table())


def idle_table() -> str:
    """The table of docs/operations.md: a row a kind of cost, a column an environment, whole dollars."""
    prices, environments = Prices.load(), Environments.load()
    named = environments.by_name()
    costs = [idle_usd(environment, environments.polling, prices) for environment in named.values()]
    heading = f"US dollars a month, {prices.region}, {prices.as_of}"
    lines = [_row(heading, list(named)), "|---|" + "---:|" * len(named)]
    for what in costs[0]:
        cells = [f"${one[what]:,.0f}" if one[what] else "" for one in costs]
        bold = "**" if what == TOGETHER else ""
        lines.append(_row(f"{bold}{what}{bold}", [f"{bold}{cell}{bold}" for cell in cells]))
    return "\n".join(lines)


def _row(first: str, cells: list[str]) -> str:
    return f"| {first} | {' | '.join(cells)} |"
