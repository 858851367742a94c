"""How a publisher writes numbers and dates, as the YAML declares it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from tnt_platform.readers.printed_dates import DateOrder
from tnt_platform.specs.fields import TimeZone, shown
from tnt_platform.specs.spec import Mistake, Spec, mistake, rule

DuplicateRule = Literal["refuse", "first", "last"]
# What publishers print where there is no value; compared without regard to case.
DEFAULT_NA: Final = (
    "", "NA", "N/A", "n/a", "n.d.", "s/d", "-", "--", "..", "...", "…", "///", "#N/A", "#N/D", "null", "NaN", "ND",
)  # fmt: skip


def _mark(text: str) -> str:
    if not text.strip() or re.search("[0-9]", re.sub(r"\(.*?\)|\[.*?\]", "", text)):
        fix = "write it as it is printed, such as (p) or *, or delete it"
        raise mistake(f"{shown(text)} is blank or a number", "what stands beside a value or a date", fix)
    return text


class Conventions(Spec):
    """How a publisher writes numbers and dates, and what to do where it contradicts itself."""

    timezone: Annotated[TimeZone, Field(description="Time zone in which the publisher's days begin.")]
    decimal: Annotated[Literal[".", ","], Field(description="Decimal mark of numbers printed as text.")] = "."
    thousands: Annotated[
        Literal[".", ",", " ", "'"] | None, Field(description="Thousands mark of numbers printed as text.")
    ] = None
    date_order: Annotated[
        DateOrder | None,
        Field(
            description="How all-digit dates such as 01/02/2024 are meant; ambiguous ones are rejected without it."
        ),
    ] = None
    serial_epoch: Annotated[
        Literal[1900, 1904] | None,
        Field(
            description="From which year serial numbers of days such as 45366 count, as spreadsheets do; a workbook "
            "says so itself, and in other files they are rejected without it."
        ),
    ] = None
    forecasts: Annotated[
        bool, Field(description="Take periods that begin after the capture, as forecasts do.")
    ] = False
    not_available: Annotated[
        tuple[str, ...], Field(description="Strings that stand for no value, in any case.")
    ] = DEFAULT_NA
    zeros: Annotated[
        tuple[str, ...],
        Field(description="Strings that stand for an exact zero, such as `-` with many statistics offices."),
    ] = ()
    marks: Annotated[
        tuple[Annotated[str, AfterValidator(_mark)], ...],
        Field(
            description="Marks beside a value or a date that are left out where it can't be read with them."
        ),
    ] = ()
    negative_parentheses: Annotated[bool, Field(description="Read `(1.5)` as -1.5.")] = False
    duplicates: Annotated[
        DuplicateRule,
        Field(description="Of different values for one period, take none (`refuse`), the first or the last."),
    ] = "refuse"

    @property
    def numbers_as_such(self) -> bool:
        """Whether cells may be numbers rather than text, as in workbooks and JSON."""
        return False

    @rule
    def _thousands_and_decimal_differ(self) -> Iterator[Mistake]:
        if self.thousands == self.decimal:
            other = "," if self.decimal == "." else "."
            fix = f"write decimal: {other!r}, or another thousands mark, or delete it"
            wrong = f"thousands: {self.thousands!r} is the decimal mark too"
            yield Mistake(wrong, "two different marks", fix, at=("thousands",))
        elif self.thousands == "." and self.numbers_as_such:
            wrong = "thousands: '.' can't be distinguished from the decimal point of cells that are numbers"
            yield Mistake(
                wrong, "it for CSV only: workbooks and JSON have numbers", "delete it", at=("thousands",)
            )

    @rule
    def _numbers_are_available(self) -> Iterator[Mistake]:
        for position, text in enumerate(self.not_available):
            if re.fullmatch(r"[+-]?\d+([.,]\d+)?", text.strip()):
                wrong = f"not_available: {text!r} is a number"
                expected = "strings that stand where a value is not known"
                fix = "delete it: a number is an observation"
                yield Mistake(wrong, expected, fix, at=("not_available", position), warning=True)
