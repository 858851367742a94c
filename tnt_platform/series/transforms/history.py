"""Merge a fresh capture into the published history, digest partitions, and find what the publisher dropped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Final, Literal

import polars as pl

from tnt_platform.errors import ConfigError
from tnt_platform.series.transforms.observations import KEY

History = Literal["complete", "window"]

_CODE: Final = "internal_series_code"
# Between the parts of a row's text; no code or unit holds it.
_BOUNDARY: Final = "\x1f"


def _code_and(form: str) -> Callable[[], pl.Expr]:
    return lambda: pl.concat_str(pl.col(_CODE), pl.col("period").dt.to_string(form), separator="/")


def _period_as(form: str) -> Callable[[], pl.Expr]:
    return lambda: pl.col("period").dt.to_string(form)


# The partition of an observation, from its series and period.
PARTITION_STRATEGIES: Final[Mapping[str, Callable[[], pl.Expr]]] = {
    "series_year_month": _code_and("year=%Y/month=%m"),
    "series_year": _code_and("year=%Y"),
    "year": _period_as("year=%Y"),
    "date": _period_as("%Y-%m-%d"),
}


def merge_observations(before: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """Merge a fresh capture into what was published: new keys are added, changed ones replaced, none removed.

    before, fresh: observations with collection_date and capture, each key (internal_series_code, period) once; the
    result has the columns of `before`, sorted by key. A key whose value (to the bit), unit and frequency are the
    same keeps its row of `before`, with the date and capture that first had it.

    Raises:
        ConfigError: the columns or the timezones of both differ.
    """
    _check_alike(before, fresh)
    changed = _bits(fresh).join(
        _bits(before), on=[*KEY, "value bits", "unit", "frequency"], how="anti", nulls_equal=True
    )
    unchanged = before.join(changed, on=list(KEY), how="anti")
    return pl.concat([unchanged, changed.select(before.columns)]).sort(KEY)


def partition_digests(observations: pl.DataFrame, strategy: str) -> pl.DataFrame:
    """Digest the content of each partition: key, value to the bit, unit and frequency, in any order of rows.

    observations: internal_series_code, period, value, unit, frequency; strategy: a key of PARTITION_STRATEGIES.
    Returns partition String, digest String (SHA-256, hexadecimal), rows Int64; sorted by partition. Equal content
    has an equal digest in every process and on every machine, whenever and from wherever it came.
    """
    texts = (
        _bits(observations)
        .sort(KEY)
        .select(
            partition=PARTITION_STRATEGIES[strategy](),
            text=pl.concat_str(
                pl.col(_CODE),
                pl.col("period").cast(pl.Int32),
                pl.col("value bits"),
                pl.col("unit").fill_null(""),
                pl.col("frequency"),
                separator=_BOUNDARY,
            ),
        )
        .group_by("partition", maintain_order=True)
        .agg(pl.col("text").str.join("\n"), rows=pl.len().cast(pl.Int64))
    )
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in texts["text"]]
    return texts.select("partition", pl.Series("digest", digests, pl.String), "rows").sort("partition")


def vanished(
    before: pl.DataFrame, fresh: pl.DataFrame, rejected_keys: pl.DataFrame, history: History = "complete"
) -> pl.DataFrame:
    """Find the keys that were published and that a fresh capture no longer has.

    before, fresh, rejected_keys: internal_series_code, period (other columns don't matter); returns these two,
    sorted. A key whose new cell was rejected has not vanished: it is there, but unreadable. With history
    "complete" each file holds all that was ever published, so every missing key has vanished. With "window" it holds
    the latest periods only: keys older than the first fresh period of their series have not vanished, nor have
    those of a series without any fresh period.
    """
    present = pl.concat([fresh.select(KEY), rejected_keys.select(KEY)])
    missing = before.select(KEY).join(present, on=list(KEY), how="anti")
    if history == "window":
        first = present.group_by(_CODE).agg(first=pl.col("period").min())
        missing = missing.join(first, on=_CODE).filter(pl.col("period") >= pl.col("first")).select(KEY)
    return missing.unique().sort(KEY)


def _bits(observations: pl.DataFrame) -> pl.DataFrame:
    """Add the bits of the value: they distinguish -0.0 from 0.0, and no digit is lost."""
    return observations.with_columns(pl.col("value").reinterpret(dtype=pl.UInt64).alias("value bits"))


def _check_alike(before: pl.DataFrame, fresh: pl.DataFrame) -> None:
    differing = [
        f"{name}: {before.schema.get(name)} was published, {fresh.schema.get(name)} is new"
        for name in sorted({*before.columns, *fresh.columns})
        if before.schema.get(name) != fresh.schema.get(name)
    ]
    if differing:
        raise ConfigError(
            f"the columns changed: {'; '.join(differing)}. The timezone and columns of a published dataset can't "
            "change; declare a new dataset"
        )
