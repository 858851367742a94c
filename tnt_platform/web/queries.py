"""The query parameters of every address; unknown ones are errors, or a misspelt one would be ignored."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)
from starlette.requests import Request

from tnt_platform.web.cursors import MAX_LENGTH
from tnt_platform.web.problems import bad_parameter
from tnt_platform.web.records.table import RecordFilters

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT_SCHEMA = {
    "anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}],
    "examples": ["2026-11-20", "2026-11-20T12:00:00Z"],
}
_EXPECTED = "expected a day such as 2026-11-20 or a time with time zone such as 2026-11-20T12:00:00Z"


def _moment(value: object) -> datetime:
    """Parse a day (its start in UTC) or a time with time zone."""
    text = str(value)
    try:
        if _DAY.fullmatch(text):
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        moment = datetime.fromisoformat(text.upper())
        if moment.tzinfo is not None and len(text) > len("2026-11-20"):
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{text[:80]!r} is not a valid date; {_EXPECTED}")


def _end(value: object) -> datetime:
    """Parse an exclusive end; a day is included in full."""
    found = _moment(value)
    if not _DAY.fullmatch(str(value)):
        return found
    return found + timedelta(days=1) if found.date() < date.max else datetime.max.replace(tzinfo=UTC)


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("it contains a NUL character")
    return text


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


# Forms send their empty fields too.
EmptyAsNone = BeforeValidator(_none_if_empty)
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema(_MOMENT_SCHEMA)]
End = Annotated[datetime, BeforeValidator(_end), WithJsonSchema(_MOMENT_SCHEMA)]
Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_no_nul)]
CursorText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_LENGTH,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="The `cursor` of the previous page.",
        json_schema_extra={"format": "tnt-cursor"},
    ),
]
VersionText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="A version id or tag instead of the current version.",
        json_schema_extra={"format": "tnt-version"},
    ),
]
Limit = Annotated[int, Field(ge=1, le=500)]
AsOf = Annotated[
    Moment, Field(description="The version that was current at that time; a day means its start in UTC.")
]


class Strict(BaseModel):
    """A query that accepts known parameters only."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


Q = TypeVar("Q", bound=Strict)


def parse_query(model: type[Q], request: Request) -> Q:
    """Parse the query of a request as FastAPI would, in a tenth of the time; lists are not supported.

    It is for the busiest addresses; `parameters_of` documents them.

    Raises:
        RequestValidationError: a parameter is unknown, repeated or invalid.
    """
    text = request.scope["query_string"].decode("latin-1")
    pairs = parse_qsl(text, keep_blank_values=True) if text else []
    given = dict(pairs)
    if len(given) != len(pairs):
        raise bad_parameter("query", "a parameter is repeated")
    try:
        return model.model_validate(given)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError(
            [{**fault, "loc": ("query", *fault["loc"])} for fault in faults]
        ) from error


def parameters_of(model: type[Strict]) -> dict[str, Any]:
    """Return the parameters of `parse_query(model, ...)` for the OpenAPI document."""
    schema = model.model_json_schema(by_alias=True)
    parameters = []
    for name, value in schema["properties"].items():
        description = value.pop("description", None)
        parameter = {"name": name, "in": "query", "required": False, "schema": value}
        parameters.append({**parameter, **({"description": description} if description else {})})
    return {"parameters": parameters}


class VersionQuery(Strict):
    """Choose a version: by id or tag, by time, or the current one."""

    version: VersionText | None = None
    as_of: AsOf | None = None


class ListQuery(Strict):
    """Choose a page of a list."""

    limit: Limit = 100
    cursor: CursorText | None = None


class RecordsQuery(VersionQuery):
    """Choose records; `lastKey` is another name of `cursor`."""

    source: Text | None = None
    limit: Limit = 50
    cursor: CursorText | None = None
    lastKey: CursorText | None = None  # noqa: N815 - the name clients of the old API send
    start: Annotated[Moment | None, Field(alias="from", description="Captured at this time or later.")] = None
    end: Annotated[
        End | None, Field(alias="to", description="Captured before this time; a day is included in full.")
    ] = None
    q: Annotated[
        Text | None, Field(description="Text to find in any field of the record, ignoring case.")
    ] = None

    @property
    def filters(self) -> RecordFilters:
        """Return the filters of records."""
        return RecordFilters(self.source, self.start, self.end, self.q)

    @property
    def position(self) -> str | None:
        """Return the cursor, under either of its names."""
        return self.cursor or self.lastKey


class SourceQuery(VersionQuery):
    """Choose a version of the records of one source, or of all."""

    source: Text | None = None


class DataQuery(VersionQuery):
    """Choose rows and columns; `where` is `column:operator:value`, repeated for more conditions."""

    columns: Annotated[
        str | None, Field(max_length=2_000, description="Column names separated by commas; default: all.")
    ] = None
    where: Annotated[
        list[Annotated[str, Field(min_length=3, max_length=400, json_schema_extra={"format": "tnt-where"})]],
        Field(
            max_length=10,
            description="Conditions `column:operator:value`, which must all hold; operators eq, ne, lt, le, gt, ge, "
            "contains, null (value true or false).",
        ),
    ] = []
    partition: Annotated[Text | None, Field(description="Read only this partition, which is fast.")] = None
    limit: Annotated[int | None, Field(ge=1, le=500, description="Default: 100; not with `format`.")] = None
    cursor: CursorText | None = None
    format: Annotated[
        Literal["csv", "json", "parquet"] | None,
        Field(description="Stream all matching rows as one file instead of a page."),
    ] = None


class DiffQuery(ListQuery):
    """Choose two versions; `to` defaults to the current one, `from` to the one before it."""

    before: Annotated[VersionText | None, Field(alias="from")] = None
    after: Annotated[VersionText | None, Field(alias="to")] = None


class QuarantineQuery(VersionQuery):
    """Choose rejected rows."""

    reason_code: Text | None = None
    limit: Limit = 100
    cursor: CursorText | None = None
