"""The shipper reference: package and consignee fields of each shipper, and whose row can't be trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.delimited import DelimitedLayout, RawFile, read_rows
from tnt_platform.storage.objects import Objects
from tnt_platform.transit.spec import SHIPPER_ID
from tnt_platform.transit.transforms.transit import QUARANTINE_SCHEMA, identify, refused_rows

# Numbers of the request; everything else in the reference is text, where leading zeros matter.
NUMERIC_FIELDS = ("weight", "length", "width", "height")


@dataclass(frozen=True)
class Shippers:
    """`frame`: one row a shipper, `shipper_id` first, with its `shipper_sha256` and `fault` (null if none)."""

    frame: pl.DataFrame
    sha256: str

    def match(self, cases: pl.DataFrame, identity: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Add the shipper's fields to each case; a case whose shipper is unknown or at fault is refused.

        Fields that the case has itself (its own destination and state) are the case's.
        """
        if not self.sha256:
            # A dataset without a reference: its requests are made of the row alone.
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
        refused = refused_rows(joined.filter(~good), identity, code, reason)
        return joined.filter(good).drop("_known", "_found", "fault"), refused


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
            f"{reference}:{first['line_no']}: {first['reason']}; mend the shipper reference",
        )
    if SHIPPER_ID not in rows.good.columns:
        raise InvalidInput("bad_reference", f"{reference} has no column {SHIPPER_ID}: {rows.good.columns}")
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
