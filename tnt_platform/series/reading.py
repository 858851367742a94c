"""Read a published file into observations, and check that it has what its `defs.yaml` declares."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname
from zoneinfo import ZoneInfo

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.lake.versions import RowCounts
from tnt_platform.readers.compression import unpack_member
from tnt_platform.series.readers.cells import NotInFile, SeriesCells, template_names
from tnt_platform.series.readers.date_column import read_date_column
from tnt_platform.series.readers.date_row import read_date_row
from tnt_platform.series.readers.table_series import read_long, read_wide
from tnt_platform.series.source import FileSpec
from tnt_platform.series.transforms.observations import Normalized, cut_off_numbers, observations_of
from tnt_platform.series.whole_answer import whole_answer
from tnt_platform.settings import Settings
from tnt_platform.specs.spec import Mistake, Spec
from tnt_platform.specs.spec import Path as SpecPath

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


def local_file_mistakes(spec: FileSpec, settings: Settings) -> Iterator[Mistake]:
    """Yield each series, or else the table, whose sheet, column or header the file lacks."""
    path = _local_file(spec.source.url, settings)
    if path is None or (error := _error_of(spec, body := path.read_bytes())) is None:
        return
    series: tuple[Spec, ...] = () if spec.reader == "long" else getattr(spec, "series", ())
    errors = [_error_of(spec.model_copy(update={"series": (one,)}), body) for one in series]
    found = [(position, one) for position, one in enumerate(errors) if one is not None]
    if not found:
        table: Spec | None = getattr(spec, "table", None)
        yield _mistake(path, error, table, ("table",) if table else ())
    elif 1 < len(series) == len(found) and len({str(one) for _, one in found}) == 1:
        # The file as a whole is wrong, or its one sheet: report it once, not for each series.
        yield _mistake(path, found[0][1], series[0], ("series", 0))
    else:
        for position, one in found:
            yield _mistake(path, one, series[position], ("series", position))


def _local_file(url: str, settings: Settings) -> Path | None:
    """Return the file that `source.url` names if it is on this machine; URLs with marks for the month are skipped."""
    if settings.missing(url):
        return None
    address = settings.resolve(url)
    if re.search(r"\{[^{}]*\}", address) or address.startswith(("http://", "https://", "s3://")):
        return None
    if not address.startswith("file:///"):
        address = f"{settings.raw_url}/{address}"
    if not address.startswith("file:///"):
        return None
    path = Path(url2pathname(urlsplit(address).path))
    return path if path.is_file() else None


def _error_of(spec: FileSpec, body: bytes) -> InvalidInput | None:
    try:
        read_capture(spec, body)
    except InvalidInput as error:
        return error
    return None


def _mistake(path: Path, error: InvalidInput, part: Spec | None, at: SpecPath) -> Mistake:
    """Place the error at the key of `part` that names what the file lacks, or at `part` itself."""
    if isinstance(error, NotInFile) and part is not None:
        keys = [key for key, value in part if error.name in _names(value)]
        at = (*at, *keys[:1])
    return Mistake(f"{path.name}: {error}", "", "", at)


def _names(value: object) -> set[str]:
    if isinstance(value, Mapping):
        return {*value}
    return {value, *template_names(value)} if isinstance(value, str) else set()
