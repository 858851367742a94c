"""Declare a dataset of series: the fields of its `defs.yaml`, by reader, and its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tnt_platform.series.local_file import local_file_mistakes
from tnt_platform.series.readers.layouts import (
    DateColumnLayout,
    DateRowLayout,
    LongLayout,
    WideLayout,
)
from tnt_platform.series.source import FileSpec
from tnt_platform.specs.fields import Cron, Unit, WithVariables
from tnt_platform.specs.spec import Mistake, Path, Spec, rule

if TYPE_CHECKING:
    from tnt_platform.settings import Settings

CAPTURE, SERIES, OBSERVATIONS = "capture", "series", "observations"
STEPS = (CAPTURE, SERIES, OBSERVATIONS)
# The one partition of `<dataset>/series`: the newest capture.
NEWEST = "newest"
# A partition of the published dataset without rows: its ledger has the capture that the version was made from.
SOURCE = "source"
OBSERVATION_KEY = ("internal_series_code", "period")

Strategy = Literal["series_year_month", "series_year", "year", "date"]


class SeriesSpec(FileSpec):
    """A published source of series: its file is captured, and the history of its observations published.

    `reader` says how the file is laid out, and so which other fields there are: see the specs below.
    """

    history: Annotated[
        Literal["complete", "window"],
        Field(description="Whether each file holds all that was ever published, or the newest periods only."),
    ] = "complete"
    partition_strategy: Annotated[Strategy, Field(description="How published files are partitioned.")] = (
        "series_year_month"
    )
    max_gap_periods: Annotated[
        int | None,
        Field(ge=0, description="A longer gap between two periods fails a check."),
        Unit("periods"),
    ] = None
    jump_limit: Annotated[
        float | None,
        Field(gt=0, description="A change of more than so many usual changes fails a check; null for none."),
        Unit("times the median change"),
    ] = 25
    max_revised_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="A publish is blocked if a larger share of a series' published values would be revised, as "
            "after a change of base, unit or column. `--accept-revised` publishes them once.",
        ),
        Unit("share, 0 to 1"),
    ] = 0.5
    newest_within_days: Annotated[
        float | None,
        Field(
            gt=0,
            description="A newest period that began longer ago fails a check. By default 60 for daily, 90 for weekly, "
            "150 for monthly, 300 for quarterly and 900 for annual series.",
        ),
        Unit("days"),
    ] = None
    lock_key: Annotated[
        str | None,
        Field(description="Key of the lease that two deployments share; `etl:<dataset>` by default."),
    ] = None
    lock_timeout_s: Annotated[
        float, Field(gt=0, description="How long a lease lasts without a heartbeat."), Unit("seconds")
    ] = 300
    notify_topic: Annotated[
        WithVariables, Field(description="SNS topic that is notified of a new version; none if it is empty.")
    ] = "${SNS_PROJECTION_TOPIC_ARN:-}"
    cron: Annotated[Cron | None, Field(description="When the publisher is asked, in `timezone`.")] = None

    @classmethod
    def variant(cls, value: Mapping[str, object]) -> type[Spec]:
        """The spec of the reader."""
        if cls is not SeriesSpec:
            return cls
        reader = value.get("reader")
        return READER_SPECS.get(reader, _UnknownReader) if isinstance(reader, str) else _UnknownReader

    @classmethod
    def variants(cls) -> tuple[type[Spec], ...]:
        """The specs of all readers."""
        return tuple(READER_SPECS.values()) if cls is SeriesSpec else (cls,)

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps in the order in which they build on each other."""
        return STEPS

    def dataset(self, step: str) -> str:
        """The id of a step in the lake; the observations are the dataset itself, as old consumers read it."""
        return self.name if step == OBSERVATIONS else f"{self.name}/{step}"

    def mistakes_beside(self, settings: Settings) -> Iterator[Mistake]:
        """Check that the file has what is declared, if it is on this machine."""
        yield from _missing_units(self)
        yield from local_file_mistakes(self, settings)


def _missing_units(spec: SeriesSpec) -> Iterator[Mistake]:
    """Find units that a draft left to be filled in."""
    table = getattr(spec, "table", None)
    places: list[tuple[Path, str | None]] = [(("table", "unit"), getattr(table, "unit", None))]
    places += [
        (("series", at, "unit"), one.unit) for at, one in enumerate(getattr(spec, "series", None) or ())
    ]
    for at, unit in places:
        if unit is not None and unit.upper().startswith("TODO"):
            yield Mistake(
                f"{'.'.join(map(str, at))}: {unit!r} is no unit", "the unit of the values", "write it", at
            )


def distinct_series(series: Sequence[Any], place: Sequence[str]) -> Iterator[Mistake]:
    """Find codes that occur twice, and series that read the same cells: those that agree in all fields of `place`."""
    codes: dict[str, int] = {}
    places: dict[tuple[object, ...], int] = {}
    for position, one in enumerate(series):
        first = codes.setdefault(one.code, position)
        if first != position and "{" not in one.code:
            wrong, at = f"the series {one.code} occurs twice", ("series", position, "code")
            fix = "rename or delete one of them"
            yield Mistake(wrong, "each code once", fix, at, see=("series", first, "code"))
            continue
        cells = tuple(getattr(one, name, None) for name in place)
        first = places.setdefault(cells, position)
        if first != position and None not in cells:
            wrong = f"{one.code} reads the same cells as {series[first].code}"
            at, expected = ("series", position, place[-1]), "a place of its own for each series"
            yield Mistake(wrong, expected, "correct one of them", at, see=("series", first))


class DateColumnSpec(DateColumnLayout, SeriesSpec):
    """Series down the columns of a workbook."""

    reader: Annotated[Literal["date_column"], Field(description="Dates and values run down columns.")]

    @property
    def numbers_as_such(self) -> bool:
        """A workbook has numbers."""
        return True

    @rule
    def _series_are_distinct(self) -> Iterator[Mistake]:
        place = ("sheet", "header_row", "skip_rows_after_header", "date_column", "value_column")
        yield from distinct_series(self.series, place)


class DateRowSpec(DateRowLayout, SeriesSpec):
    """Series along the rows of a workbook."""

    reader: Annotated[Literal["date_row"], Field(description="Dates and values run along rows.")]

    @property
    def numbers_as_such(self) -> bool:
        """A workbook has numbers."""
        return True

    @rule
    def _series_are_distinct(self) -> Iterator[Mistake]:
        yield from distinct_series(self.series, ("sheet", "dates_row", "first_column", "values_row"))


class WideSpec(WideLayout, SeriesSpec):
    """A CSV or JSON file with a column per series, or a row per series under columns of dates."""

    reader: Annotated[Literal["wide"], Field(description="A table with a column, or a row, per series.")]

    @property
    def numbers_as_such(self) -> bool:
        """JSON has numbers, CSV has text."""
        return self.table.format == "json"

    @rule
    def _series_are_distinct(self) -> Iterator[Mistake]:
        yield from distinct_series(self.series, ("column",))


class LongSpec(LongLayout, SeriesSpec):
    """A CSV or JSON file with an observation per row."""

    reader: Annotated[Literal["long"], Field(description="A table with an observation per row.")]

    @property
    def numbers_as_such(self) -> bool:
        """JSON has numbers, CSV has text."""
        return self.table.format == "json"

    @rule
    def _series_are_distinct(self) -> Iterator[Mistake]:
        yield from distinct_series(self.series, ("code",))


class _UnknownReader(SeriesSpec):
    """What a YAML without a known reader is checked as: what depends on the reader may be anything."""

    series: Any = ()
    table: Any = None
    footer: Any = None


READER_SPECS: Mapping[str, type[SeriesSpec]] = {
    "date_column": DateColumnSpec,
    "date_row": DateRowSpec,
    "wide": WideSpec,
    "long": LongSpec,
}
