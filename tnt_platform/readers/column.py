"""One typed column: what a dataset's YAML declares, and where a layout finds it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal

import polars as pl
from pydantic import AfterValidator, Field, model_validator

from tnt_platform.specs.fields import listed, shown
from tnt_platform.specs.spec import Mistake, Spec, mistake, rule

ColumnType = Literal["text", "postal_code", "days", "integer", "number", "date", "boolean", "category"]

_RESERVED: Final = frozenset({"file_key", "line_no", "raw"})
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_NUMERIC: Final = frozenset({"days", "integer", "number"})
# Options that mean something for some types only; elsewhere they would be ignored, so they are rejected.
_OPTION_TYPES: Final[Mapping[str, frozenset[str]]] = {
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
# Options that mean the same empty as left out.
_LISTS: Final = frozenset({"formats", "nulls", "notes", "true_values", "false_values", "values"})
_STRINGS: Final = frozenset({"pattern", "thousands", "currency", "decimal"})
# polars shows a faulty pattern, indented by so many spaces, above a caret.
_POLARS_INDENT: Final = 4


def _polars_regex(text: str) -> str:
    # Alone first, where the engine's caret is below the right place; then as it is used.
    for pattern in (text, f"^(?:{text})$"):
        try:
            pl.select(pl.lit("").str.contains(pattern))
        except pl.exceptions.ComputeError as error:
            reason = re.search(r"^\s*error: (.*)$", str(error), re.MULTILINE)
            caret = re.search(r"^( +)\^+\s*$", str(error), re.MULTILINE)
            where = f" at position {len(caret[1]) - _POLARS_INDENT}" if caret and pattern == text else ""
            raise mistake(
                f"{shown(text)} is not a regular expression: {reason[1] if reason else error}{where}",
                "Rust's syntax, which has no look-around and no back-references",
                "fix that position; put a backslash before a character that stands for itself",
            ) from None
    return text


def _date_format(text: str) -> str:
    codes = set(re.findall(r"%-?(.)", text))
    if not ({"y", "Y"} & codes and {"m", "b", "B"} & codes and {"d", "e"} & codes):
        raise mistake(
            f"{shown(text)} does not name a day, a month and a year",
            "a day, a month and a year in each format",
            "write it like %Y-%m-%d or %d-%b-%y",
        )
    return text


def _free_name(text: str) -> str:
    if not _NAME.fullmatch(text) or text in _RESERVED:
        raise mistake(
            f"{shown(text)} is not a column name",
            f"lower-case letters, digits and _, other than {listed(_RESERVED)}",
            f"write {_as_name(text)}",
        )
    return text


def _as_name(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return name if _NAME.match(name) and name not in _RESERVED else f"file_{name}"


PolarsRegex = Annotated[str, AfterValidator(_polars_regex)]
Bound = float | date


class Note(Spec):
    """A string that stands in the place of a value, and the code it is published as."""

    equals: Annotated[str | None, Field(description="The whole cell. Give either this or `matches`.")] = None
    matches: Annotated[PolarsRegex | None, Field(description="A regular expression for the whole cell.")] = (
        None
    )
    code: Annotated[
        str, Field(min_length=1, description="What `<column>_note` holds for it; the value itself is null.")
    ]

    @rule
    def _says_one_thing(self) -> Iterator[Mistake]:
        if (self.equals is None) == (self.matches is None):
            wrong = f"the note {self.code!r} has {'neither' if self.equals is None else 'both'}"
            yield Mistake(wrong, "`equals` or `matches`, one of them", "add or delete one")


class ColumnSpec(Spec):
    """One published column: what its cells mean, and what stands for no value.

    `nulls` become null silently; `notes` become null with their code in `<name>_note`; any other string that isn't a
    value of the type sends its row to quarantine.
    """

    name: Annotated[
        str, AfterValidator(_free_name), Field(description="The column's name in the published data.")
    ]
    type: Annotated[
        ColumnType, Field(description="What its values are; `days` is a whole number from 0.")
    ] = "text"
    required: Annotated[
        bool,
        Field(description="Whether each row needs a value or a note; otherwise empty cells are null."),
    ] = False
    nulls: Annotated[
        tuple[str, ...], Field(description="Cells that mean no value, besides an empty one.")
    ] = ()
    notes: Annotated[
        tuple[Note, ...],
        Field(description="Cells that say why there is no value, published as a code in `<name>_note`."),
    ] = ()
    formats: Annotated[
        tuple[Annotated[str, AfterValidator(_date_format)], ...],
        Field(
            description="How dates are spelled, for type `date`. A cell that several formats read as different "
            "dates is rejected; with `%y`, 69 to 99 are 1969 to 1999."
        ),
    ] = ("%Y-%m-%d",)
    minimum: Annotated[Bound | None, Field(description="The least value, for numbers and dates.")] = None
    maximum: Annotated[Bound | None, Field(description="The largest value, for numbers and dates.")] = None
    pattern: Annotated[
        PolarsRegex | None,
        Field(description="A regular expression for the whole cell, for types `text` and `postal_code`."),
    ] = None
    true_values: Annotated[
        tuple[str, ...], Field(description="Cells that mean true, for type `boolean`.")
    ] = ("Y",)
    false_values: Annotated[
        tuple[str, ...], Field(description="Cells that mean false, for type `boolean`.")
    ] = ("N",)
    values: Annotated[tuple[str, ...], Field(description="Every category, for type `category`.")] = ()
    thousands: Annotated[
        Literal[",", ".", " ", "'", "\u00a0", "\u202f"] | None,
        Field(description="The character between groups of three digits, for numbers."),
    ] = None
    currency: Annotated[
        str | None, Field(min_length=1, description="A mark before or after the number, such as $.")
    ] = None
    decimal: Annotated[Literal[".", ","], Field(description="The decimal mark, for type `number`.")] = "."

    @model_validator(mode="before")
    @classmethod
    def _without_empty_options(cls, value: Any) -> Any:
        """Treat an option that is empty as left out."""
        if not isinstance(value, Mapping):
            return value
        return {
            name: given
            for name, given in value.items()
            if not ((name in _LISTS and given in ([], ())) or (name in _STRINGS and given in (None, "")))
        }

    @property
    def note_name(self) -> str:
        """The name of the column that carries the codes of the notes."""
        return f"{self.name}_note"

    @rule
    def _options_fit_the_type(self) -> Iterator[Mistake]:
        if self.type == "category" and not self.values:
            wrong = f"{self.name} has type category and no values"
            yield Mistake(wrong, "the categories", "add `values: [a, b]`", at=("type",))
            return
        for option, types in _OPTION_TYPES.items():
            if (
                option in self.model_fields_set
                and getattr(self, option) is not None
                and self.type not in types
            ):
                wrong = f"{option} has no meaning for type {self.type}"
                yield Mistake(
                    wrong, f"it for type {' or '.join(sorted(types))} only", "delete it", at=(option,)
                )

    @rule
    def _bounds_can_be_compared(self) -> Iterator[Mistake]:
        if self.type not in _OPTION_TYPES["minimum"]:
            return
        for option, bound in (("minimum", self.minimum), ("maximum", self.maximum)):
            if bound is not None and isinstance(bound, date) != (self.type == "date"):
                expected = "a date such as 2026-01-31" if self.type == "date" else "a number"
                wrong = f"{option} {bound} can't be compared with a {self.type}"
                yield Mistake(wrong, expected, "correct it", at=(option,))

    @rule
    def _bounds_are_in_order(self) -> Iterator[Mistake]:
        low, high = self.minimum, self.maximum
        if low is None or high is None or isinstance(low, date) != isinstance(high, date):
            return
        if low > high:  # type: ignore[operator]  # both are dates or both are numbers
            wrong = f"{self.name}: minimum {low} is above maximum {high}"
            yield Mistake(wrong, "the smaller one first", "exchange them", at=("minimum",))

    @rule
    def _no_word_means_two_things(self) -> Iterator[Mistake]:
        if self.type == "boolean":
            for word in sorted(set(self.true_values) & set(self.false_values)):
                at = "false_values" if "false_values" in self.model_fields_set else "true_values"
                wrong = f"{shown(word)} is in true_values and in false_values"
                yield Mistake(wrong, "each value in one of them", "delete it from one of them", at=(at,))
        if self.thousands is not None and self.thousands == self.decimal:
            wrong = f"thousands and decimal are both {self.decimal!r}"
            yield Mistake(wrong, "two different characters", "change one of them", at=("thousands",))


class Column(ColumnSpec):
    """A column and where the cells of its files are.

    `source` is a header name (any case, any white space) or a position from 0. An `optional` column may be absent
    from a whole file.
    """

    source: int | str
    optional: bool = False

    @rule
    def _source_can_be_found(self) -> Iterator[Mistake]:
        if isinstance(self.source, int) and self.source < 0:
            yield Mistake(
                f"position {self.source} is below 0", "a position from 0", "correct it", at=("source",)
            )
        if self.optional and self.required:
            wrong = "a required column can't be absent from the file"
            yield Mistake(wrong, "one of the two", "delete `optional`", at=("optional",))
