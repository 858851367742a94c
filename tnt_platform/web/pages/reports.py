"""The report pages: a calendar of days with their status, and the files of one day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.charts import months_of
from tnt_platform.web.context import Web, web_of
from tnt_platform.web.pages.kinds import chosen_of, datasets_of, is_report
from tnt_platform.web.pages.rendering import render_page
from tnt_platform.web.problems import not_found
from tnt_platform.web.queries import Strict, Text

router = APIRouter(include_in_schema=False)
_FILES_SHOWN = 500


class ReportQuery(Strict):
    """Choose a report."""

    dataset: Text | None = None


class DayQuery(Strict):
    """Choose a day of a report."""

    dataset: Text
    day: date


@router.get("/ui/reports", response_class=HTMLResponse)
async def calendar(request: Request, query: Annotated[ReportQuery, Query()]) -> Response:
    """Show every day with its status."""
    web = web_of(request)
    return await render_page(request, "reports.html", **await web.work.run(_months, web, query.dataset))


def _months(web: Web, dataset: str | None) -> dict[str, Any]:
    known = datasets_of(web.catalog, is_report)
    snapshot = chosen_of(known, dataset)
    if snapshot is None:
        return {"known": known, "snapshot": None, "months": [], "days": {}}
    days = _by_day(web, snapshot)
    return {"known": known, "snapshot": snapshot, "months": months_of(days), "days": days}


def _by_day(web: Web, snapshot: Snapshot) -> dict[date, dict[str, Any]]:
    """Map each day to files, records, bad_records, size_bytes and status (ok | bad records | refused)."""
    sums = [pl.col(name).sum() for name in ("records", "bad_records", "size_bytes")]
    # `problem` is set for files that could not be read at all.
    has_problem = "problem" in snapshot.manifest.schema
    unread = pl.col("problem").is_not_null().any() if has_problem else pl.lit(value=False)
    names = [name for name in snapshot.partitions["partition"] if _day(name) is not None]
    frames = web.cache.of_partitions(
        snapshot,
        "sums",
        names,
        lambda name: snapshot.scan([name]).select(
            pl.lit(name).alias("day"), pl.len().alias("files"), *sums, unread.alias("unread")
        ),
    )
    rows = pl.concat(frames) if frames else pl.DataFrame()
    refused = dict(snapshot.partitions.select("partition", "quarantined").iter_rows())
    by_day: dict[date, dict[str, Any]] = {}
    for row in rows.iter_rows(named=True):
        day = _day(row["day"])
        assert day is not None
        bad = row["bad_records"] or refused.get(row["day"])
        status = "refused" if row["unread"] else "bad records" if bad else "ok"
        by_day[day] = {**row, "status": status}
    return by_day


def _day(partition: str) -> date | None:
    try:
        return date.fromisoformat(partition)
    except ValueError:
        return None


@router.get("/ui/reports/day", response_class=HTMLResponse)
async def one_day(request: Request, query: Annotated[DayQuery, Query()]) -> Response:
    """Show the files of a day, compared with the day before and the same weekday of the week before."""
    web = web_of(request)
    return await render_page(request, "report_day.html", **await web.work.run(_day_details, web, query))


def _day_details(web: Web, query: DayQuery) -> dict[str, Any]:
    snapshot = chosen_of(datasets_of(web.catalog, is_report), query.dataset)
    assert snapshot is not None
    days = _by_day(web, snapshot)
    if query.day not in days:
        raise not_found(f"There is no report for {query.day}.")
    name = query.day.isoformat()
    [files] = web.cache.of_partitions(
        snapshot, "files", [name], lambda day: snapshot.scan([day]).sort("file_key")
    )
    near = {
        "the day before": query.day - timedelta(days=1),
        "the same weekday before": query.day - timedelta(days=7),
    }
    return {
        "snapshot": snapshot,
        "day": query.day,
        "facts": days[query.day],
        "files": files.head(_FILES_SHOWN).to_dicts(),
        "compared": [(name, other, days.get(other)) for name, other in near.items()],
        "later": query.day + timedelta(days=1) if query.day + timedelta(days=1) in days else None,
        "earlier": query.day - timedelta(days=1) if query.day - timedelta(days=1) in days else None,
    }
