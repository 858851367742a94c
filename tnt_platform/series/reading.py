"""Read a published file into observations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from tnt_platform.lake.versions import RowCounts
from tnt_platform.readers.compression import unpack_member
from tnt_platform.series.readers.cells import SeriesCells
from tnt_platform.series.readers.date_column import read_date_column
from tnt_platform.series.readers.date_row import read_date_row
from tnt_platform.series.readers.table_series import read_long, read_wide
from tnt_platform.series.source import FileSpec
from tnt_platform.series.transforms.observations import Normalized, cut_off_numbers, observations_of
from tnt_platform.series.whole_answer import whole_answer

# Each takes the bytes of a file and the layout of its kind, which the type of a dict can't express.
READERS: Final[dict[str, Callable[[bytes, Any], SeriesCells]]] = {
    "date_column": read_date_column,
    "date_row": read_date_row,
    "wide": read_wide,
    "long": read_long,
}


@dataclass(frozen=True)
class NormalizedCapture:
    """The cells of a capture, and what each became; below_footer: dated numbers that the footer would cut off."""

    cells: SeriesCells
    normalized: Normalized
    below_footer: int = 0

    @property
    def counts(self) -> RowCounts:
        """Counts whose sum is the cells in: observations, rejected, repeated and not available."""
        normalized = self.normalized
        return RowCounts(
            rows_in=self.cells.cells.height + self.below_footer + self.cells.rejected.height,
            published=normalized.observations.height,
            quarantined=normalized.rejected.height + self.cells.rejected.height,
            deduplicated=normalized.deduplicated,
            filtered=normalized.filtered,
        )


def read_capture(spec: FileSpec, body: bytes, captured_at: datetime | None = None) -> NormalizedCapture:
    """Read the bytes of a capture into observations, without any side effect.

    captured_at: when the file was captured, with a time zone; now by default. No observation is later, unless the
    dataset declares `forecasts`.

    Raises:
        InvalidInput: the file as a whole is not what the YAML describes.
    """
    unpacked = unpack_member(body, spec.source.member) if spec.source.member else body
    unpacked, layout = whole_answer(spec, unpacked)
    found = READERS[spec.reader](unpacked, layout)
    codes = found.codes.with_columns(pl.col("frequency").fill_null(spec.frequency))
    captured = (captured_at or datetime.now(UTC)).astimezone(ZoneInfo(spec.timezone)).date()
    normalized = observations_of(found.cells, codes, spec, captured=captured, epoch=found.epoch)
    # Below a footer are notes; a dated number there is a row that the footer must not hide.
    others = found.below.select("series_code").unique().join(codes, on="series_code", how="anti")
    others = others.with_columns(unit=pl.lit(None, pl.String), frequency=pl.lit(spec.frequency))
    below = cut_off_numbers(
        found.below, pl.concat([codes, others]), spec, captured=captured, epoch=found.epoch
    )
    normalized = replace(normalized, rejected=pl.concat([normalized.rejected, below]))
    return NormalizedCapture(replace(found, codes=codes), normalized, below.height)
