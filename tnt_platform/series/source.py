"""Declare a published file of series: where it is, and everything that decides what is read from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tnt_platform.series.readers.layouts import Frequency
from tnt_platform.series.recipe import recipe_of
from tnt_platform.series.transforms.conventions import Conventions
from tnt_platform.specs.dataset import DatasetSpec
from tnt_platform.specs.fields import (
    VARIABLE,
    Headers,
    MayHoldVariables,
    Unit,
    meant,
    refuse_credentials,
    shown,
)
from tnt_platform.specs.paging import CountedAnswer, PagedSource
from tnt_platform.specs.spec import Mistake, mistake, rule

Reader = Literal["date_column", "date_row", "wide", "long"]

SCHEMES = ("file:///", "http://", "https://", "s3://")
MONTH_MARKS = ("MM", "YY", "YYYY")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?://)?/?")
_MONTH_MARK = re.compile(r"\{([^{}]*)\}")


def _address(text: str) -> str:
    """Check an address, with the defaults of its variables, without a request to the publisher."""
    address = VARIABLE.sub(lambda variable: variable[2] or "unknown", text)
    _check_place(address)
    refuse_credentials(text)
    _check_month_marks(address)
    return text


def _check_place(text: str) -> None:
    expected = f"{', '.join(SCHEMES)} or a key below the raw files"
    if not text.strip():
        raise mistake("the address is empty", expected, "write the address of the file")
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


class SeriesSource(PagedSource):
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


class FileSpec(CountedAnswer, Conventions, DatasetSpec):
    """A file of a publisher and how it is read; with the layout of its reader, it decides what observations it has."""

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

    @rule
    def _only_json_counts_itself(self) -> Iterator[Mistake]:
        # A workbook has no table, and a table without a known reader may be anything.
        if hasattr(self, "table") and getattr(self.table, "format", "json") == "json":
            return
        for name in ("count", "pages"):
            if getattr(self, name) is not None:
                yield Mistake(f"{name} has no effect", "it with table.format: json", "delete it", at=(name,))

    @property
    def recipe(self) -> str:
        """A fingerprint of everything declared that decides what observations a capture gives."""
        return recipe_of(self.reader, self, self, self.frequency, self.source.member)
