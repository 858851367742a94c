"""The series pages: a searchable list, and a plot of one series, optionally with another version."""

from __future__ import annotations

from datetime import date
from functools import lru_cache, partial
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.charts import line_plot
from tnt_platform.web.context import Web, web_of
from tnt_platform.web.pages.kinds import chosen_of, datasets_of, is_series
from tnt_platform.web.pages.rendering import render_page
from tnt_platform.web.problems import not_found
from tnt_platform.web.queries import EmptyAsNone, Strict, Text, VersionText
from tnt_platform.web.rows import read_version

router = APIRouter(include_in_schema=False)
_SHOWN = 200
_POINTS_SHOWN = 60
# Neighbouring observations further apart than this are not joined.
_LONGEST_STEP_DAYS = {"D": 11, "W": 15, "M": 45, "Q": 120, "A": 500}


class SeriesQuery(Strict):
    """Search in codes, units and dataset names."""

    q: Annotated[Text | None, EmptyAsNone] = None


class PlotQuery(Strict):
    """Choose a series, and a version to compare the current one with."""

    dataset: Text
    code: Text
    compare: Annotated[VersionText | None, EmptyAsNone] = None


@router.get("/ui/series", response_class=HTMLResponse)
async def index(request: Request, query: Annotated[SeriesQuery, Query()]) -> Response:
    """List the series that match the search."""
    web = web_of(request)
    return await render_page(request, "series.html", **await web.work.run(_listed, web, query.q))


def _listed(web: Web, text: str | None) -> dict[str, Any]:
    known = datasets_of(web.catalog, is_series)
    rows = [
        row for snapshot in known for row in read_version(web.catalog, snapshot, partial(_codes, snapshot))
    ]
    words = (text or "").casefold().split()
    found = [row for row in rows if all(word in row["searched"] for word in words)]
    return {"rows": found[:_SHOWN], "total": len(found), "all": len(rows), "known": known}


@lru_cache(maxsize=32)
def _codes(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return one row per series: code, unit, frequency, first and last period, last value."""
    has = set(snapshot.manifest.schema)
    facts = [pl.col(name).last() for name in ("unit", "frequency") if name in has]
    rows = (
        snapshot.scan(
            columns=[c for c in ("internal_series_code", "period", "value", "unit", "frequency") if c in has]
        )
        .sort("period")
        .group_by("internal_series_code")
        .agg(
            pl.len().alias("observations"),
            pl.col("period").first().alias("first"),
            pl.col("period").last().alias("last"),
            pl.col("value").last(),
            *facts,
        )
        .sort("internal_series_code")
        .collect()
    )
    return [
        {
            "unit": None,
            "frequency": None,
            **row,
            "dataset": snapshot.dataset,
            "searched": f"{row['internal_series_code']} {row.get('unit')} {snapshot.dataset}".casefold(),
        }
        for row in rows.to_dicts()
    ]


@router.get("/ui/series/plot", response_class=HTMLResponse)
async def plot(request: Request, query: Annotated[PlotQuery, Query()]) -> Response:
    """Plot one series, and optionally a second version of it."""
    web = web_of(request)
    return await render_page(request, "plot.html", **await web.work.run(_plotted, web, query))


def _plotted(web: Web, query: PlotQuery) -> dict[str, Any]:
    snapshot = chosen_of(datasets_of(web.catalog, is_series), query.dataset)
    assert snapshot is not None
    now = _observations(web, snapshot, query.code)
    if now.is_empty():
        raise not_found(f"{query.dataset} has no series {query.code[:200]!r}.")
    lines = {"current version": _points(now)}
    changed: list[dict[str, Any]] = []
    if query.compare is not None:
        other = web.catalog.snapshot(query.dataset, query.compare)
        before = _observations(web, other, query.code)
        lines[f"version {query.compare}"] = _points(before)
        changed = _changed(before, now)
    frequency = now["frequency"][-1] if "frequency" in now.columns else None
    return {
        "snapshot": snapshot,
        "code": query.code,
        "compare": query.compare,
        "plot": line_plot(lines, longest_gap_days=_LONGEST_STEP_DAYS.get(str(frequency))),
        "unit": now["unit"][-1] if "unit" in now.columns else None,
        "rows": now.sort("period", descending=True).head(_POINTS_SHOWN).to_dicts(),
        "total": now.height,
        "changed": changed,
        "versions": web.catalog.versions(query.dataset).head(50).to_dicts(),
    }


def _observations(web: Web, snapshot: Snapshot, code: str) -> pl.DataFrame:
    """Return the observations of one series in order, opening only its own files if partitions are by series."""
    names = snapshot.partitions["partition"]
    own = names.filter(names.str.starts_with(f"{code}/")).to_list()
    rows = snapshot.scan(own or None).filter(pl.col("internal_series_code") == code).sort("period")
    return web.cache.of_version(snapshot, ("observations", code), rows.collect)


def _points(rows: pl.DataFrame) -> list[tuple[date, float]]:
    finite = rows.filter(pl.col("value").is_finite()).select("period", "value")
    return [(day, value) for day, value in finite.iter_rows()]


def _changed(before: pl.DataFrame, now: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the periods whose values differ, latest first."""
    joined = before.select("period", before="value").join(
        now.select("period", now="value"), on="period", how="full", coalesce=True
    )
    differs = pl.col("before").ne_missing(pl.col("now"))
    return joined.filter(differs).sort("period", descending=True).head(_POINTS_SHOWN).to_dicts()
