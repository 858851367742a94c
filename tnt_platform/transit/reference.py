"""The shipper reference: package and consignee of each shipper, and which of its rows can't be trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.delimited import DelimitedLayout, RawFile, read_rows
from tnt_platform.storage.objects import Objects
from tnt_platform.transit.spec import SHIPPER_ID
from tnt_platform.transit.transforms.cases import QUARANTINE_SCHEMA, identify, rejected_rows

# Fields that are numbers in a request; all others are strings, where leading zeros matter.
NUMERIC_FIELDS = ("weight", "length", "width", "height")


@dataclass(frozen=True)
class Shippers:
    """One row per shipper in `frame`: `shipper_id`, its fields, `shipper_sha256`, and `fault` (null if none)."""

    frame: pl.DataFrame
    sha256: str

    def match(self, cases: pl.DataFrame, identity: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Add the shipper's fields to each case; also return the cases whose shipper is unknown or has a fault.

        Fields that a case has itself, such as its destination and state, stay the case's own.
        """
        if not self.sha256:
            # Without a reference, requests are made of the row alone.
            return cases.with_columns(shipper_sha256=pl.lit("")), pl.DataFrame(schema=QUARANTINE_SCHEMA)
        fields = [c for c in self.frame.columns if c == SHIPPER_ID or c not in cases.columns]
        joined = cases.with_columns(_known=pl.lit(value=True)).join(
            self.frame.select(fields).with_columns(_found=pl.lit(value=True)),
            on=SHIPPER_ID,
            how="left",
            maintain_order="left",
        )
        good = pl.col("_found").is_not_null() & pl.col("fault").is_null()
        code = (
            pl.when(pl.col("_found").is_null())
            .then(pl.lit("unknown_shipper"))
            .otherwise(pl.lit("bad_shipper_reference"))
        )
        unknown = pl.format("shipper {} is not in the shipper reference; add it and replay", SHIPPER_ID)
        reason = pl.when(pl.col("_found").is_null()).then(unknown).otherwise(pl.col("fault"))
        rejected = rejected_rows(joined.filter(~good), identity, code, reason)
        return joined.filter(good).drop("_known", "_found", "fault"), rejected


def read_shippers(raw: Objects, reference: str | None) -> Shippers:
    """Read the reference CSV, whose key in the raw files is `reference`.

    Raises:
        NotFound: it is not in the raw bucket.
        InvalidInput: it can't be read as a CSV with a header and a shipper id.
    """
    if not reference:
        return Shippers(
            pl.DataFrame(schema={SHIPPER_ID: pl.Utf8, "shipper_sha256": pl.Utf8, "fault": pl.Utf8}),
            "",
        )
    data = raw.get(reference)
    layout = DelimitedLayout()
    rows = read_rows([RawFile(reference, data)], layout)
    if not rows.bad.is_empty():
        first = rows.bad.row(0, named=True)
        raise InvalidInput(
            "bad_reference",
            f"{reference}:{first['line_no']}: {first['reason']}; fix the shipper reference",
        )
    if SHIPPER_ID not in rows.good.columns:
        raise InvalidInput(
            "bad_reference",
            f"{reference} has no column {SHIPPER_ID}, only {', '.join(rows.good.columns[3:])}; add it",
        )
    return Shippers(_checked(rows.good, reference), hashlib.sha256(data).hexdigest())


def _checked(rows: pl.DataFrame, reference: str) -> pl.DataFrame:
    fields = [c for c in rows.columns if c not in ("file_key", "line_no", "raw")]
    frame = rows.select("line_no", *fields).with_columns(identify(rows, fields).alias("shipper_sha256"))
    numbers = [c for c in NUMERIC_FIELDS if c in fields]
    bad = [
        pl.when(pl.col(c).cast(pl.Float64, strict=False).is_null()).then(
            pl.format(f"{reference}:{{}}: {c} {{}} is not a number", "line_no", pl.col(c).fill_null(""))
        )
        for c in numbers
    ]
    lines = pl.col("line_no").cast(pl.Utf8).str.join(", ").over(SHIPPER_ID)
    twice = pl.col("shipper_sha256").n_unique().over(SHIPPER_ID) > 1
    several = pl.when(twice).then(
        pl.format(f"{reference}: lines {{}} describe shipper {{}} differently", lines, SHIPPER_ID)
    )
    return (
        frame.with_columns(fault=pl.coalesce(several, *bad, pl.lit(None, pl.Utf8)))
        .with_columns(pl.col(c).cast(pl.Float64, strict=False) for c in numbers)
        .unique(SHIPPER_ID, keep="first", maintain_order=True)
        .drop("line_no")
    )
