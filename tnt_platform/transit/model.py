"""What a transit dataset's `defs.yaml` may say: strict, every field explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import dagster as dg
from pydantic import Field

from tnt_platform.readers.column import Column, Note
from tnt_platform.readers.delimited import DelimitedLayout
from tnt_platform.services.http import HttpLimits
from tnt_platform.specs.legacy_fields import Regex
from tnt_platform.transit.spec import FileLayout, RateApi, ShipperReference, TransitSource


class SourceModel(dg.Model, dg.Resolvable):
    """Where files arrive. `key_pattern` is what follows the prefix; its group `date` names the date."""

    prefix: str
    key_pattern: Regex
    date_format: str = "%Y-%m-%d"
    on_overwrite: Literal["latest", "reject"] = "latest"
    on_delete: Literal["keep", "remove"] = "keep"
    same_file_again: Literal["read", "skip"] = "read"


class LayoutModel(dg.Model, dg.Resolvable):
    """One kind of file: a glob on its name, how it is delimited, and where each column is found.

    `columns` maps a column's name to its position (0-based, no header) or header name.
    """

    files: str
    separator: str = ","
    quote: str | None = '"'
    header: bool = True
    encoding: str | None = None
    max_columns: int | None = None
    columns: Mapping[str, int | str]


class NoteModel(dg.Model, dg.Resolvable):
    """Words that stand where a number should: the value becomes null and `<name>_note` holds `code`."""

    code: str
    equals: str | None = None
    matches: Regex | None = None


class ColumnModel(dg.Model, dg.Resolvable):
    """One typed column; a value that does not fit sends its row to quarantine."""

    name: str
    type: Literal["text", "postal_code", "days", "integer", "number", "date", "boolean", "category"] = "text"
    required: bool = False
    formats: Sequence[str] = ()
    nulls: Sequence[str] = ()
    notes: Sequence[NoteModel] = ()
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    true_values: Sequence[str] = ()
    false_values: Sequence[str] = ()
    values: Sequence[str] = ()
    thousands: str | None = None
    currency: str | None = None
    decimal: str | None = None


class RateApiModel(dg.Model, dg.Resolvable):
    """The API that says how long a shipment takes. `${VARIABLES}` are resolved when a run starts."""

    url: str
    request: str = "request.json"
    headers: Mapping[str, str] = Field(default_factory=dict)
    answer: str
    reference: str | None = None
    concurrency: Annotated[int, Field(ge=1, le=512)] = 64
    rate_per_s: Annotated[float, Field(gt=0)] | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 15
    attempts: Annotated[int, Field(ge=1, le=20)] = 5
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.95


class SampleModel(dg.Model, dg.Resolvable):
    """Ask for some cases of each file instead of all, the same ones for the same seed."""

    rows: Annotated[int, Field(ge=1)]
    seed: int


class DynamoDbModel(dg.Model, dg.Resolvable):
    """A table that live dashboards read; left out when `table` resolves to nothing.

    With `payloads`, items carry request and answer too, at three times the cost.
    """

    table: str
    payloads: bool = False
    ttl_days: Annotated[int, Field(ge=1)] = 90


def layout_of(model: LayoutModel, columns: Sequence[ColumnModel]) -> FileLayout:
    """Bind the dataset's columns to where this layout keeps them.

    Raises:
        ValueError: the layout places a column that is not declared, or leaves a required one out.
    """
    declared = {column.name: column for column in columns}
    unknown = sorted(set(model.columns) - set(declared))
    if unknown:
        raise ValueError(
            f"layout {model.files!r} places columns that `columns` does not declare: {', '.join(unknown)}"
        )
    left_out = [c.name for c in columns if c.required and c.name not in model.columns]
    if left_out:
        raise ValueError(
            f"layout {model.files!r} does not say where required columns are: {', '.join(left_out)}"
        )
    required = [model.columns[c.name] for c in columns if c.required]
    layout = DelimitedLayout(
        separator=model.separator,
        quote=model.quote,
        header=model.header,
        encoding=model.encoding,
        min_columns=max((place for place in required if isinstance(place, int)), default=0) + 1,
        max_columns=model.max_columns,
        columns=tuple(model.columns.values()),
        optional=frozenset(model.columns.values()) - frozenset(required),
    )
    return FileLayout(model.files, layout, tuple(column_of(c, model.columns.get(c.name)) for c in columns))


def column_of(model: ColumnModel, source: int | str | None) -> Column:
    """The column as one layout has it; one that the layout does not place is null in its files."""
    given = {
        name: value
        for name, value in model.model_dump(exclude={"notes"}).items()
        if value not in (None, "", (), [])
    }
    return Column(
        **given,
        source=model.name if source is None else source,
        optional=not model.required,
        notes=tuple(Note(**note.model_dump()) for note in model.notes),
    )


def rate_api_of(model: RateApiModel, folder: Path) -> RateApi:
    """The API with its request template found beside the YAML."""
    return RateApi(
        url=model.url,
        template=folder / model.request,
        headers=dict(model.headers),
        answer=model.answer,
        limits=HttpLimits(
            concurrency=model.concurrency,
            rate_per_s=model.rate_per_s,
            timeout_s=model.timeout_s,
            attempts=model.attempts,
        ),
        min_coverage=model.min_coverage,
        reference=ShipperReference(model.reference) if model.reference else None,
    )


def source_of(model: SourceModel) -> TransitSource:
    """The source as discovery knows it."""
    return TransitSource(**model.model_dump(exclude={"same_file_again"}))
