"""Normalize the cells of every series to one value per canonical period; cells that can't be are rejected."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from tnt_platform.errors import ConfigError
from tnt_platform.readers.printed_marks import scale_of, without_marks
from tnt_platform.readers.printed_numbers import numbers_of
from tnt_platform.series.transforms.column_dates import with_periods
from tnt_platform.series.transforms.conventions import Conventions, DuplicateRule
from tnt_platform.series.transforms.periods import FREQUENCIES, period_starts
from tnt_platform.series.transforms.reasons import below_footer, contradictions, unread_reasons

KEY: Final = ("internal_series_code", "period")
SHOWN_CODES: Final = 5

REJECTED: Final[Mapping[str, pl.DataType]] = {
    "series_code": pl.String(),
    "line_no": pl.Int64(),
    "place": pl.String(),
    "period": pl.Date(),
    "raw": pl.String(),
    "reason_code": pl.String(),
    "reason": pl.String(),
}


@dataclass(frozen=True)
class Normalized:
    """What became of every cell: cells = observations + rejected + filtered + deduplicated.

    observations: see `observation_schema`, sorted by key. rejected: REJECTED, in the order of the cells; the period is
    null where the date wasn't read. filtered: cells without a value. deduplicated: cells that repeat a key.
    dst_gaps, dst_repeats: observations whose period starts at a midnight that doesn't exist or exists twice.
    """

    observations: pl.DataFrame
    rejected: pl.DataFrame
    filtered: int
    deduplicated: int
    dst_gaps: int
    dst_repeats: int


def observation_schema(timezone: str) -> dict[str, pl.DataType]:
    """Return the columns of observations; their key is internal_series_code and period."""
    return {
        "internal_series_code": pl.String(),
        "period": pl.Date(),
        "obs_time": pl.Datetime("us", timezone),
        "value": pl.Float64(),
        "unit": pl.String(),
        "frequency": pl.String(),
        "printed_date": pl.String(),
        "place": pl.String(),
        "line_no": pl.Int64(),
    }


def observations_of(
    cells: pl.DataFrame,
    codes: pl.DataFrame,
    conventions: Conventions,
    *,
    captured: dt.date,
    epoch: int | None = None,
) -> Normalized:
    """Turn cells into observations at canonical periods, with a reason for every cell that can't be one.

    cells: series_code, date_text, value_text, place (String), line_no (Int64), in the order of the file;
    codes: series_code, unit, frequency of every series; captured: the day of the capture in the dataset's timezone;
    epoch: the year from which the file counts serial dates, None if it doesn't say. Reason codes are missing_date,
    bad_date, bad_value, contradictory_duplicate and those of `with_periods`. A cell without a value is filtered if
    its date is readable or blank.

    Raises:
        ConfigError: a series has no, an unknown or two frequencies, or the timezone is unknown.
    """
    _check_codes(cells, codes)
    read = _read(cells, codes, conventions, captured, epoch)
    filtered = read.filter(pl.col("fault") == "filtered").height
    unread = read.filter(pl.col("fault") != "filtered")
    sound = read.filter(pl.col("fault").is_null()).sort(KEY, maintain_order=True)
    unique, contradictory = _without_duplicates(sound, conventions.duplicates)
    rejected = pl.concat([unread_reasons(unread, conventions), contradictions(contradictory)]).sort("at")
    starts = period_starts(unique["period"], conventions.timezone)
    observations = unique.join(starts, on="period", how="left", maintain_order="left")
    return Normalized(
        observations=observations.select(list(observation_schema(conventions.timezone))),
        rejected=rejected.select(list(REJECTED)),
        filtered=filtered,
        deduplicated=sound.height - unique.height - contradictory.height,
        dst_gaps=int(observations["dst_gap"].sum()),
        dst_repeats=int(observations["dst_repeat"].sum()),
    )


def cut_off_numbers(
    cells: pl.DataFrame,
    codes: pl.DataFrame,
    conventions: Conventions,
    *,
    captured: dt.date,
    epoch: int | None = None,
) -> pl.DataFrame:
    """Return the cells below a footer that have a date and a value, rejected as below_footer; others are notes.

    The arguments are those of `observations_of`.
    """
    read = _read(cells, codes, conventions, captured, epoch)
    is_dated = pl.col("period").is_not_null() | pl.col("date_fault").is_not_null()
    return below_footer(read.filter(is_dated & ~pl.col("na"))).select(list(REJECTED))


def _expect(name: str, value: str | None, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name}: {value!r} is not one of {', '.join(map(repr, choices))}")


def _check_codes(cells: pl.DataFrame, codes: pl.DataFrame) -> None:
    undeclared = cells.select(pl.col("series_code").unique().sort()).join(codes, on="series_code", how="anti")
    if undeclared.height:
        raise ConfigError(
            f"series {_listed(undeclared)} have no unit and frequency: declare them under `series:`"
        )
    twice = codes.filter(pl.col("series_code").is_duplicated()).unique("series_code", keep="first")
    if twice.height:
        raise ConfigError(f"series {_listed(twice)} are declared twice: give each one unit and one frequency")
    unknown = codes.filter(~pl.col("frequency").is_in(list(FREQUENCIES)).fill_null(False))
    if unknown.height:
        raise ConfigError(f"series {_listed(unknown)}: the frequency is not one of {', '.join(FREQUENCIES)}")


def _listed(rows: pl.DataFrame) -> str:
    return ", ".join(map(repr, rows["series_code"].head(SHOWN_CODES)))


def _read(
    cells: pl.DataFrame,
    codes: pl.DataFrame,
    conventions: Conventions,
    captured: dt.date,
    epoch: int | None,
) -> pl.DataFrame:
    """Add at, unit, frequency, period, value and the reason code in `fault`, null for a sound cell."""
    rows = cells.with_row_index("at").join(codes, on="series_code", how="left", maintain_order="left")
    rows = rows.with_columns(
        value=_values(conventions), na=_is_na(conventions), scale=_scale(cells, conventions)
    )
    rows = with_periods(rows, conventions, captured, epoch)
    undated, blank = pl.col("period").is_null(), pl.col("date_text").is_null()
    fault = (
        pl.when(pl.col("na") & (~undated | blank))
        .then(pl.lit("filtered"))
        .when(blank)
        .then(pl.lit("missing_date"))
        .when(pl.col("date_fault").is_not_null())
        .then(pl.col("date_fault"))
        .when(undated)
        .then(pl.lit("bad_date"))
        .when(pl.col("value").is_null() & pl.col("value_text").str.starts_with("="))
        .then(pl.lit("formula_without_result"))
        .when(pl.col("value").is_null())
        .then(pl.lit("bad_value"))
    )
    rows = rows.with_columns(fault=fault)
    return rows.with_columns(fault=pl.coalesce("fault", _mixed_scale(rows))).rename(
        {"series_code": KEY[0], "date_text": "printed_date"}
    )


def _values(conventions: Conventions) -> pl.Expr:
    printed = [pl.col("value_text")]
    if conventions.marks:
        printed.append(without_marks(pl.col("value_text"), conventions.marks))
    decimal, thousands = conventions.decimal, conventions.thousands
    parentheses = conventions.negative_parentheses
    found = [numbers_of(text, decimal, thousands, negative_parentheses=parentheses) for text in printed]
    if conventions.numbers_as_such:
        found.insert(0, numbers_of(printed[0]))
    zero = pl.when(_is_among(printed[-1], conventions.zeros)).then(0.0)
    return pl.coalesce(*found, zero)


def _scale(cells: pl.DataFrame, conventions: Conventions) -> pl.Expr:
    printed = scale_of(pl.col("value_text"), conventions.marks)
    return pl.coalesce("scale", printed) if "scale" in cells.columns else printed


def _mixed_scale(rows: pl.DataFrame) -> pl.Expr:
    """Find values that are printed in another scale than most of their series: 26.5 % beside 0.25."""
    sound = pl.col("fault").is_null()
    scale = pl.col("scale").fill_null("")
    if rows["scale"].null_count() == rows.height:
        return pl.lit(None, pl.String)
    scales = scale.filter(sound).mode().over("series_code", mapping_strategy="join")
    odd = (scale != scales.list.first()) | (scales.list.len() > 1)
    return pl.when(sound & odd).then(pl.lit("mixed_scale"))


def _is_na(conventions: Conventions) -> pl.Expr:
    zeros = {token.lower() for token in conventions.zeros}
    tokens = [token for token in conventions.not_available if token.lower() not in zeros]
    text = pl.col("value_text")
    na = text.is_null() | _is_among(text, tokens)
    if not conventions.marks:
        return na
    # A mark alone stands for some value, so the cell is not blank.
    bare = without_marks(text, conventions.marks)
    return na | ((bare != "") & _is_among(bare, tokens))


def _is_among(text: pl.Expr, tokens: Sequence[str]) -> pl.Expr:
    return text.str.to_lowercase().is_in([token.lower() for token in tokens])


def _without_duplicates(sound: pl.DataFrame, rule: DuplicateRule) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows sorted by key into one per key and, under "refuse", all rows of keys with different values."""
    repeats = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in KEY).fill_null(False)
    is_repeated = repeats | repeats.shift(-1, fill_value=False)
    repeated = sound.filter(is_repeated)
    if repeated.is_empty():
        return sound, repeated
    contradicts = pl.col("value").n_unique().over(KEY) > 1 if rule == "refuse" else pl.lit(False)
    agreeing = repeated.filter(~contradicts).unique(
        KEY, keep="last" if rule == "last" else "first", maintain_order=True
    )
    return pl.concat([sound.filter(~is_repeated), agreeing]).sort(KEY), repeated.filter(contradicts)
