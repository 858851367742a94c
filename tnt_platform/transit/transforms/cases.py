"""Cases: which rows count, how expected and actual days compare, and what the results add up to.

A *case* is one row of a shipper file (or one delivery). Frames carry `file_key` (String) and `line_no` (Int64, from 1)
through every step, so that each number can be traced to its line.
"""

from __future__ import annotations

import hashlib
import random  # noqa: TID251  (seeded by the caller for each file: no hidden state)
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

PassRule = Literal["equal", "not_late"]

ORIGIN = ("file_key", "line_no")
QUARANTINE_SCHEMA: dict[str, pl.DataType] = {
    "file_key": pl.String(),
    "line_no": pl.Int64(),
    "raw": pl.String(),
    "reason_code": pl.String(),
    "reason": pl.String(),
    # Null here: the store knows when it saw the row first.
    "first_seen_at": pl.Datetime("us", "UTC"),
}
_FIELD_MARK = "\x1f"

# Service levels of a rate request, as users quote them.
LATENCY_QUANTILES = {"latency_p50_ms": 0.50, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}


@dataclass(frozen=True)
class DistinctCases:
    """The rows `kept` (one per case), those `rejected` (QUARANTINE_SCHEMA), and the number of duplicates."""

    kept: pl.DataFrame
    rejected: pl.DataFrame
    deduplicated: int


def distinct_cases(cases: pl.DataFrame, files: pl.DataFrame, identity: Sequence[str]) -> DistinctCases:
    """Keep one row for each `identity`, in whatever order the files arrived.

    The newest file (last_modified, then file_key) wins over older files of the same date: shippers send corrections
    as a second file. Within one file equal rows are duplicates, and rows that contradict each other are all
    rejected, since nothing says which one is meant.

    `cases`: file_key, line_no, the identity and any other columns. `files`: file_key, last_modified.
    `kept` has the columns of `cases`, sorted by file_key and line_no.
    """
    ranked = files.sort("last_modified", "file_key").select("file_key").with_row_index("file_rank")
    content = [name for name in cases.columns if name not in {*ORIGIN, *identity}]
    marked = cases.join(ranked, on="file_key", how="left", maintain_order="left").with_columns(
        newest=pl.col("file_rank") == pl.col("file_rank").max().over(identity)
    )
    winners = marked.filter("newest")
    variants = pl.struct(content).n_unique().over(identity) if content else pl.lit(1)
    winners = winners.with_columns(contradicted=variants > 1)
    kept = (
        winners.filter(~pl.col("contradicted"))
        .sort("file_key", "line_no")
        .unique(subset=list(identity), keep="first", maintain_order=True)
        .select(cases.columns)
    )
    contradictions = winners.filter("contradicted")
    rejected = _contradictions(contradictions, identity, content)
    return DistinctCases(kept, rejected, cases.height - kept.height - rejected.height)


def _contradictions(rows: pl.DataFrame, identity: Sequence[str], content: Sequence[str]) -> pl.DataFrame:
    lines = pl.col("line_no").sort().cast(pl.Utf8).str.join(", ").over(identity)
    name = " / ".join(identity)
    reason = pl.format(
        f"lines {{}} give different values for the same {name}; keep one of them in the file", lines
    )
    return rejected_rows(rows, [*identity, *content], pl.lit("conflicting_case"), reason)


def as_quarantine(frame: pl.DataFrame) -> pl.DataFrame:
    """Give `frame` exactly the columns of QUARANTINE_SCHEMA; those it lacks are null."""
    return pl.concat([pl.DataFrame(schema=QUARANTINE_SCHEMA), frame], how="diagonal").select(
        list(QUARANTINE_SCHEMA)
    )


def rejected_files(keys: Sequence[str], reason_code: str, reasons: Sequence[str] | str) -> pl.DataFrame:
    """Return whole files as quarantine rows, at line 0; `reasons` may be one for all."""
    each = [reasons] * len(keys) if isinstance(reasons, str) else reasons
    rows = [(key, 0, reason_code, reason) for key, reason in zip(keys, each, strict=True)]
    named = {name: QUARANTINE_SCHEMA[name] for name in ("file_key", "line_no", "reason_code", "reason")}
    return as_quarantine(pl.DataFrame(rows, schema=named, orient="row"))


def rejected_rows(
    rows: pl.DataFrame, shown: Sequence[str], reason_code: pl.Expr, reason: pl.Expr
) -> pl.DataFrame:
    """Return rows of a later step as quarantine rows; `raw` holds the values of the columns `shown`."""
    parts = [pl.concat_str(pl.lit(f"{c}="), pl.col(c).cast(pl.Utf8).fill_null("")) for c in shown]
    raw = pl.concat_str(parts, separator="|")
    return as_quarantine(
        rows.select(
            "file_key", "line_no", raw.alias("raw"), reason_code.alias("reason_code"), reason.alias("reason")
        )
    )


def sample_rows(cases: pl.DataFrame, *, rows_per_file: int, seed: int) -> pl.DataFrame:
    """Choose the same `rows_per_file` rows of each file every time, whatever other files there are."""
    chosen = [
        frame[sorted(random.Random(f"{seed}:{name[0]}").sample(range(frame.height), rows_per_file))]  # noqa: S311
        if frame.height > rows_per_file
        else frame
        for name, frame in cases.sort("file_key", "line_no").group_by("file_key", maintain_order=True)
    ]
    return pl.concat(chosen) if chosen else cases


def identify(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """Make ids of 32 hex characters from the values of `columns` alone: no clock, no file, no row order."""
    values = frame.select(
        pl.concat_str([pl.col(c).cast(pl.Utf8).fill_null("") for c in columns], separator=_FIELD_MARK)
    ).to_series()
    return pl.Series(
        "id", [hashlib.sha256(value.encode()).hexdigest()[:32] for value in values], dtype=pl.Utf8
    )


def compare_days(cases: pl.DataFrame, *, passes_when: PassRule) -> pl.DataFrame:
    """Add lag_days (Int32, actual - expected), status (early | on_time | late) and success (Boolean).

    Needs `expected_transit_days` and `actual_transit_days`; neither may be null.
    """
    lag = pl.col("actual_transit_days").cast(pl.Int32) - pl.col("expected_transit_days").cast(pl.Int32)
    return _with_status(cases.with_columns(lag_days=lag), passes_when)


def compare_dates(cases: pl.DataFrame, *, passes_when: PassRule) -> pl.DataFrame:
    """Add the same columns from `expected_date` and `actual_date` (Date), in whole calendar days."""
    lag = (pl.col("actual_date") - pl.col("expected_date")).dt.total_days().cast(pl.Int32)
    return _with_status(cases.with_columns(lag_days=lag), passes_when)


def _with_status(cases: pl.DataFrame, passes_when: PassRule) -> pl.DataFrame:
    lag = pl.col("lag_days")
    early_or_on_time = pl.when(lag < 0).then(pl.lit("early")).otherwise(pl.lit("on_time"))
    status = pl.when(lag > 0).then(pl.lit("late")).otherwise(early_or_on_time)
    passed = lag == 0 if passes_when == "equal" else lag <= 0
    return cases.with_columns(status=status, success=passed)


def summarise(results: pl.DataFrame, group_by: Sequence[str]) -> pl.DataFrame:
    """Compute pass rate, counts and latency in total and by each column of `group_by` on its own.

    Returns, sorted: group_kind (String, the column or "all"), group_value (String), cases, passed, failed, early,
    on_time, late (Int64), pass_rate (Float64 from 0 to 1, null without a case), mean_lag_days (Float64), and the
    latency columns (Float64, milliseconds, null where no request was sent). Key: group_kind, group_value.
    """
    timed = "time_taken_ms" in results.columns
    measures = [
        pl.len().cast(pl.Int64).alias("cases"),
        pl.col("success").sum().cast(pl.Int64).alias("passed"),
        *(
            (pl.col("status") == status).sum().cast(pl.Int64).alias(status)
            for status in ("early", "on_time", "late")
        ),
        pl.col("lag_days").mean().alias("mean_lag_days"),
        *(
            (pl.col("time_taken_ms").quantile(q, "nearest") if timed else pl.lit(None, pl.Float64))
            .cast(pl.Float64)
            .alias(name)
            for name, q in LATENCY_QUANTILES.items()
        ),
    ]
    frames = [_grouped(results, "all", pl.lit("all"), measures)]
    frames += [_grouped(results, c, pl.col(c).cast(pl.Utf8).fill_null("(none)"), measures) for c in group_by]
    return pl.concat(frames).sort("group_kind", "group_value")


def _grouped(results: pl.DataFrame, kind: str, value: pl.Expr, measures: Sequence[pl.Expr]) -> pl.DataFrame:
    return (
        results.group_by(value.alias("group_value"))
        .agg(*measures)
        .select(
            pl.lit(kind).alias("group_kind"),
            "group_value",
            "cases",
            "passed",
            (pl.col("cases") - pl.col("passed")).alias("failed"),
            "early",
            "on_time",
            "late",
            (pl.col("passed") / pl.col("cases")).fill_nan(None).alias("pass_rate"),
            "mean_lag_days",
            *LATENCY_QUANTILES,
        )
    )
