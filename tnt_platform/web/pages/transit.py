"""The transit page: pass rates by day and group, the worst lanes, and the latency of the rate API."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.charts import column_plot, line_plot
from tnt_platform.web.context import Web, web_of
from tnt_platform.web.pages.kinds import chosen_of, datasets_of, is_transit
from tnt_platform.web.pages.rendering import render_page
from tnt_platform.web.problems import Problem
from tnt_platform.web.queries import Strict, Text

router = APIRouter(include_in_schema=False)
_GROUPS_SHOWN = 20
_LANES_SHOWN = 15
_TARGET_PASS_RATE = 0.95
_LATENCIES = {"p50": "latency_p50_ms", "p95": "latency_p95_ms", "p99": "latency_p99_ms"}
_LANE = ("origin", "destination")


class TransitQuery(Strict):
    """Choose a dataset, and the number of latest days."""

    dataset: Text | None = None
    days: Literal["7", "30", "90", "365"] = "30"


@router.get("/ui/transit", response_class=HTMLResponse)
async def transit(request: Request, query: Annotated[TransitQuery, Query()]) -> Response:
    """Show pass rates, worst lanes and latency of the latest days."""
    web = web_of(request)
    return await render_page(request, "transit.html", **await web.work.run(_shown, web, query))


def _shown(web: Web, query: TransitQuery) -> dict[str, Any]:
    known = datasets_of(web.catalog, is_transit)
    snapshot = chosen_of(known, query.dataset)
    shown: dict[str, Any] = {
        "known": known,
        "snapshot": snapshot,
        "days": query.days,
        "lanes": [],
        "groups": [],
    }
    if snapshot is None or not snapshot.manifest.rows:
        return {**shown, "by_day": None, "latency": None, "total": None}
    days = snapshot.partitions["partition"].sort().tail(int(query.days)).to_list()
    summary = _by_partition(web, snapshot, days)
    overall = summary.filter(group_kind="all").sort("day")
    return {
        **shown,
        "by_day": _pass_rates(overall),
        "day_rows": overall.sort("day", descending=True).to_dicts(),
        "latency": _latency(overall),
        "groups": _groups(summary),
        "lanes": _worst_lanes(web, snapshot, days),
        "total": overall.select(pl.col("cases", "passed", "early", "late").sum()).row(0, named=True),
    }


def _by_partition(web: Web, snapshot: Snapshot, days: list[str]) -> pl.DataFrame:
    """Return the summaries of the days, with a column `day`."""
    return pl.concat(
        web.cache.of_partitions(
            snapshot, "days", days, lambda day: snapshot.scan([day]).with_columns(day=pl.lit(day))
        )
    )


def _pass_rates(overall: pl.DataFrame) -> Any:
    rows = overall.filter(pl.col("pass_rate").is_not_null())
    bars = [
        (
            row["day"],
            100 * row["pass_rate"],
            f"{row['day']}: {row['pass_rate']:.1%} of {row['cases']:,} cases",
        )
        for row in rows.iter_rows(named=True)
    ]
    return column_plot(bars, highest=100.0, marked_below=100 * _TARGET_PASS_RATE)


def _latency(overall: pl.DataFrame) -> Any:
    lines = {}
    for name, column in _LATENCIES.items():
        if column in overall.columns:
            rows = overall.filter(pl.col(column).is_not_null()).select("day", column)
            lines[name] = [
                (date.fromisoformat(day), value) for day, value in rows.iter_rows() if len(day) == 10
            ]
    return line_plot({name: points for name, points in lines.items() if points})


def _groups(summary: pl.DataFrame) -> list[tuple[str, list[dict[str, Any]], int]]:
    """Return the worst groups of each kind over all days: kind, rows, number of groups."""
    groups = []
    for kind in summary.filter(pl.col("group_kind") != "all")["group_kind"].unique().sort():
        rows = (
            summary.filter(group_kind=kind)
            .group_by("group_value")
            .agg(pl.col("cases", "passed", "early", "late").sum())
            .with_columns(pass_rate=pl.col("passed") / pl.col("cases"))
            .sort("pass_rate", "cases", "group_value", descending=[False, True, False])
        )
        groups.append((kind, rows.head(_GROUPS_SHOWN).to_dicts(), rows.height))
    return groups


def _worst_lanes(web: Web, summary: Snapshot, days: list[str]) -> list[dict[str, Any]]:
    """Return the lanes with the most failures; empty if the results have no such columns."""
    try:
        results = web.catalog.current(f"{summary.dataset.rsplit('/', 1)[0]}/results")
    except Problem:
        return []
    if not {*_LANE, "success", "lag_days"} <= set(results.manifest.schema):
        return []
    rows = results.scan(days, [*_LANE, "success", "lag_days"])
    lanes = (
        rows.group_by(_LANE)
        .agg(
            pl.len().alias("cases"),
            (~pl.col("success")).sum().alias("failed"),
            pl.col("lag_days").mean().alias("mean_lag_days"),
        )
        .filter(pl.col("failed") > 0)
        .with_columns(pass_rate=1 - pl.col("failed") / pl.col("cases"))
        .sort("failed", "pass_rate", *_LANE, descending=[True, False, False, False])
        .head(_LANES_SHOWN)
    )
    key = ("lanes", tuple(days))
    return web.cache.of_version(results, key, lambda: lanes.collect(engine="streaming")).to_dicts()
