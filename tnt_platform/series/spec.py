"""Declare a dataset of series: the fields of its `defs.yaml`, by reader, and its steps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from tnt_platform.series.readers.layouts import (
    DateColumnLayout,
    DateRowLayout,
    Frequency,
    LongLayout,
    WideLayout,
)
from tnt_platform.series.recipe import recipe_of
from tnt_platform.series.transforms.conventions import Conventions
from tnt_platform.specs.dataset import DatasetSpec
from tnt_platform.specs.fields import (
    VARIABLE,
    Cron,
    Headers,
    MayHoldVariables,
    Unit,
    WithVariables,
    meant,
    refuse_credentials,
    shown,
)
from tnt_platform.specs.spec import Mistake, Spec, mistake, rule

if TYPE_CHECKING:
    from tnt_platform.settings import Settings

CAPTURE, SERIES, OBSERVATIONS = "capture", "series", "observations"
STEPS = (CAPTURE, SERIES, OBSERVATIONS)
# The one partition of `<dataset>/series`: the newest capture.
NEWEST = "newest"
# A partition of the published dataset without rows: its ledger has the capture that the version was made from.
SOURCE = "source"
OBSERVATION_KEY = ("internal_series_code", "period")

Reader = Literal["date_column", "date_row", "wide", "long"]
Strategy = Literal["series_year_month", "series_year", "year", "date"]

SCHEMES = ("file:///", "http://", "https://", "s3://")
MONTH_MARKS = ("MM", "YY", "YYYY")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?://)?/?")
_MONTH_MARK = re.compile(r"\{([^{}]*)\}")


def _address(text: str) -> str:
    """Check what can be told of an address without asking the publisher; a variable's default is part of it."""
    address = VARIABLE.sub(lambda variable: variable[2] or "unknown", text)
    _check_place(address)
    refuse_credentials(text)
    _check_month_marks(address)
    return text


def _check_place(text: str) -> None:
    expected = f"{', '.join(SCHEMES)} or a key below the raw files"
    if not text.strip():
        raise mistake("it is empty", expected, "write the address of the file")
    if scheme := _SCHEME.match(text):
        if not text.startswith(SCHEMES):
            raise mistake(
                f"{shown(scheme[0])} is not a known scheme", expected, _scheme_meant(text, scheme[0])
            )
        rest = text.partition(":///" if scheme[0] == "file:///" else "://")[2]
        if not rest or rest[0] == "/":
            what = "a bucket and a key" if text.startswith("s3:") else "a host and a path"
            raise mistake(f"{shown(text)} names no file", what, "write the whole address")
    elif text.startswith("/"):
        raise mistake(f"{shown(text)} is a path of one machine", expected, f"write file://{text}")
    elif ".." in text.split("/"):
        raise mistake(f"{shown(text)} leaves the raw files", expected, "write the key without ..")


def _scheme_meant(text: str, scheme: str) -> str:
    if re.match(r"[A-Za-z]:[\\/]", text):
        return "write it like file:///C:/folder/file.xlsx"
    if scheme.startswith("file:"):
        return "write file:/// with three slashes and the whole path"
    return meant(scheme, SCHEMES, "download it by one of these, or put the file below the raw files")


def _check_month_marks(text: str) -> None:
    expected = f"{', '.join('{' + mark + '}' for mark in reversed(MONTH_MARKS))}"
    for name in _MONTH_MARK.findall(text):
        if name not in MONTH_MARKS:
            upper = name.upper()
            near = upper if upper in MONTH_MARKS else {"M": "MM", "Y": "YY", "YYY": "YYYY"}.get(upper)
            fix = f"did you mean {{{near}}}?" if near else "write the text itself"
            raise mistake(f"{{{name}}} stands for nothing", expected, fix)
    rest = _MONTH_MARK.sub("", text)
    if "{" in rest or "}" in rest:
        raise mistake(
            f"a brace of {shown(text)} is not closed or not opened", f"marks such as {expected}", "fix it"
        )


class SeriesSource(Spec):
    """Where the publisher keeps the file."""

    url: Annotated[
        str,
        MayHoldVariables(),
        AfterValidator(_address),
        Field(
            description="http(s)://, file:///, s3://bucket/key, or a key below the raw files. {YYYY}, {YY} and {MM} "
            "stand for a month: the newest that exists is taken."
        ),
    ]
    headers: Annotated[Headers, Field(description="Headers of the request; secrets as `${VARIABLES}`.")] = (
        Field(default_factory=dict, repr=False)
    )
    months_back: Annotated[
        int, Field(ge=0, le=120, description="How far back the newest month is looked for."), Unit("months")
    ] = 12
    member: Annotated[str | None, Field(description="Glob of the file inside a zip.")] = None
    max_size_mb: Annotated[
        float, Field(gt=0, le=2_000, description="Largest file that is taken."), Unit("MB")
    ] = 100
    timeout_s: Annotated[float, Field(gt=0, description="Longest wait for the file."), Unit("seconds")] = 60

    @property
    def max_size_bytes(self) -> int:
        """The largest file, in bytes."""
        return int(self.max_size_mb * 1_000_000)

    @rule
    def _months_are_in_the_url(self) -> Iterator[Mistake]:
        address = VARIABLE.sub(lambda variable: variable[2] or "{MM}", self.url)
        if "months_back" in self.model_fields_set and not _MONTH_MARK.search(address):
            fix = "delete it, or put {YYYY} and {MM} into the url"
            wrong = "source.months_back has no effect"
            yield Mistake(wrong, "it with {YYYY}, {YY} or {MM} in the url", fix, at=("months_back",))


class SeriesSpec(Conventions, DatasetSpec):
    """A published source of series: its file is captured, and the history of its observations published.

    `reader` says how the file is laid out, and so which other fields there are: see the specs below.
    """

    provider: Annotated[str, Field(description="Who publishes the series.")]
    frequency: Annotated[Frequency, Field(description="Daily, weekly, monthly, quarterly or annual.")]
    source: Annotated[SeriesSource, Field(description="Where the publisher keeps the file.")]
    reader: Annotated[
        Reader,
        Field(
            description="Layout of the file: `date_column` and `date_row` for workbooks whose dates run down or "
            "across; `wide` (a column per series) and `long` (a row per observation) for CSV and JSON."
        ),
    ]
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

    @property
    def recipe(self) -> str:
        """A fingerprint of everything declared that decides what observations a capture gives."""
        return recipe_of(self.reader, self, self, self.frequency, self.source.member)

    def mistakes_beside(self, settings: Settings) -> Iterator[Mistake]:
        """What the file lacks of what is declared, if it is on this machine."""
        from tnt_platform.series.local_file import local_file_mistakes

        return local_file_mistakes(self, settings)


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
