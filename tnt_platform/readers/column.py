"""One typed column as a dataset's YAML declares it."""

from __future__ import annotations

import re
from datetime import date
from typing import Final, Literal, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

ColumnType = Literal["text", "postal_code", "days", "integer", "number", "date", "boolean", "category"]

_RESERVED: Final = frozenset({"file_key", "line_no", "raw"})
_NUMERIC: Final = frozenset({"days", "integer", "number"})
# Options that mean something for some types only; elsewhere they would be ignored, so they are refused.
_OPTION_TYPES: Final = {
    "formats": frozenset({"date"}),
    "minimum": _NUMERIC | {"date"},
    "maximum": _NUMERIC | {"date"},
    "pattern": frozenset({"text", "postal_code"}),
    "true_values": frozenset({"boolean"}),
    "false_values": frozenset({"boolean"}),
    "values": frozenset({"category"}),
    "thousands": _NUMERIC,
    "currency": _NUMERIC,
    "decimal": frozenset({"number"}),
}


class Note(BaseModel):
    """A text that stands in the place of a value, and the code it is published as."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    equals: str | None = None
    matches: str | None = None
    code: str = Field(min_length=1)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.equals is None) == (self.matches is None):
            raise ValueError(f"note {self.code!r}: give either `equals` or `matches`")
        if self.matches is not None:
            _check_pattern(self.matches)
        return self


class Column(BaseModel):
    """One published column: where its text comes from, what it means, and what stands for no value.

    `source` is a header name (any case, any white space) or a position from 0. `nulls` become null silently;
    `notes` become null with their code in `<name>_note`; any other text that isn't a value refuses the row.
    A required column needs a value or a note. An optional one may be absent from the whole file. `pattern` must
    match the whole cell. `%y` reads as Python does: 69 to 99 are 1969 to 1999, 00 to 68 are 2000 to 2068.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    source: int | str
    type: ColumnType = "text"
    required: bool = False
    optional: bool = False
    nulls: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    formats: tuple[str, ...] = ("%Y-%m-%d",)
    minimum: int | float | date | None = None
    maximum: int | float | date | None = None
    pattern: str | None = None
    true_values: tuple[str, ...] = ("Y",)
    false_values: tuple[str, ...] = ("N",)
    values: tuple[str, ...] = ()
    thousands: Literal[",", ".", " ", "'", "\u00a0", "\u202f"] | None = None
    currency: str | None = Field(default=None, min_length=1)
    decimal: Literal[".", ","] = "."

    @property
    def note_name(self) -> str:
        """The name of the column that carries the codes of the notes."""
        return f"{self.name}_note"

    @model_validator(mode="after")
    def _options_fit_the_type(self) -> Self:
        for option, types in _OPTION_TYPES.items():
            if option in self.model_fields_set and self.type not in types:
                raise ValueError(
                    f"{option}: has no meaning for type {self.type}; it is for {', '.join(sorted(types))}"
                )
        for bound in (self.minimum, self.maximum):
            if bound is not None and isinstance(bound, date) != (self.type == "date"):
                raise ValueError(f"minimum, maximum: {bound!r} can't be compared with a {self.type}")
        if isinstance(self.source, int) and self.source < 0:
            raise ValueError(f"source: {self.source} must be a position from 0")
        if self.optional and self.required:
            raise ValueError("optional: a required column can't be absent from the file")
        return self

    @model_validator(mode="after")
    def _name_is_free(self) -> Self:
        if self.name in _RESERVED:
            raise ValueError(f"name: {self.name!r} is the platform's own; choose another")
        return self

    @model_validator(mode="after")
    def _lists_are_complete(self) -> Self:
        if self.type == "category" and not self.values:
            raise ValueError("values: list the categories, or use type text")
        if self.type == "boolean" and set(self.true_values) & set(self.false_values):
            raise ValueError("true_values, false_values: one value is in both")
        if not self.formats:
            raise ValueError("formats: list at least one")
        if self.thousands is not None and self.thousands == self.decimal:
            raise ValueError(f"thousands, decimal: {self.decimal!r} can't be both")
        for text in self.formats:
            _check_date_format(text)
        if self.pattern is not None:
            _check_pattern(self.pattern)
        return self


def _check_pattern(pattern: str) -> None:
    try:
        pl.select(pl.lit("").str.contains(f"^(?:{pattern})$"))
    except pl.exceptions.ComputeError as fault:
        raise ValueError(f"{pattern!r} is no regular expression that polars takes: {fault}") from None


def _check_date_format(text: str) -> None:
    codes = set(re.findall(r"%-?(.)", text))
    if not ({"y", "Y"} & codes and {"m", "b", "B"} & codes and {"d", "e"} & codes):
        raise ValueError(f"formats: {text!r} must name a day, a month and a year, as %Y-%m-%d does")
