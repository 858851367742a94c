"""The settings of a daily report (its `defs.yaml`), and its steps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from tnt_platform.discovery.raw_source import RawSource
from tnt_platform.readers.layout import DelimitedFormat
from tnt_platform.specs.dataset import DatedDatasetSpec, SensorSpec
from tnt_platform.specs.fields import Cron, IsoDate, Regex, Unit, shown
from tnt_platform.specs.spec import Mistake, rule

FILES, REPORT = "files", "report"
STEPS = (FILES, REPORT)
FILES_KEY = ("file_key",)
REPORT_KEY = ("date",)
# Columns that the reader adds to those of the files.
RESERVED_COLUMNS = frozenset({"file_key", "line_no", "raw"})


class ReportSource(RawSource):
    """Where files arrive, each under its date."""

    prefix: Annotated[str, Field(description="Folder of the raw files.")] = "raw-data/"
    key_pattern: Annotated[
        Regex,
        Field(
            description="Regular expression for the part of a key after the prefix; its group `date` is the date."
        ),
    ] = r"(?P<date>\d{4}-\d{2}-\d{2})/.+"

    @rule
    def _prefix_is_a_folder(self) -> Iterator[Mistake]:
        if not self.prefix.endswith("/"):
            wrong = f"prefix {shown(self.prefix)} is not a folder"
            yield Mistake(wrong, "a slash at the end", f"write {self.prefix}/", at=("prefix",))

    @rule
    def _pattern_has_a_date(self) -> Iterator[Mistake]:
        if "date" not in self.whole_key.groupindex:
            fix = "write it like (?P<date>\\d{4}-\\d{2}-\\d{2})/.+"
            yield Mistake(
                "key_pattern has no group date", "a group for the date of a file", fix, at=("key_pattern",)
            )


class ReportSpec(DatedDatasetSpec):
    """A daily report on the files that arrived: their records and totals, compared with other days."""

    start_date: Annotated[IsoDate, Field(description="First date to report.")] = date(2020, 1, 1)
    source: Annotated[ReportSource, Field(description="Where files arrive.")] = Field(
        default_factory=ReportSource
    )
    totals: Annotated[
        tuple[str, ...], Field(description="Numeric columns to sum, in every file that has them.")
    ] = ()
    max_file_mb: Annotated[
        float, Field(gt=0, le=10_000, description="A larger file is rejected unread."), Unit("MB")
    ] = 500
    text: Annotated[
        DelimitedFormat | None,
        Field(
            description="How delimited files are written, the same for all; left out, each file shows it by the shape "
            "of its rows, and one that leaves it open is rejected."
        ),
    ] = None
    empty_days: Annotated[
        Literal["missing", "normal"],
        Field(
            description="Whether a day without files fails its check (`missing`) or is expected (`normal`)."
        ),
    ] = "missing"
    sensor: Annotated[SensorSpec, Field(description="How often the bucket is compared with the reports.")] = (
        Field(default_factory=SensorSpec)
    )
    cron: Annotated[
        Cron | None,
        Field(description="When to report the day before (UTC), so that a day without files is noticed."),
    ] = None

    @rule
    def _totals_are_unique_columns(self) -> Iterator[Mistake]:
        for position, name in enumerate(self.totals):
            at = ("totals", position)
            if name in self.totals[:position]:
                yield Mistake(f"totals: {name} occurs twice", "unique columns", "delete one of them", at)
            elif name in RESERVED_COLUMNS:
                wrong = f"totals: {name} is reserved for the reader"
                yield Mistake(
                    wrong, "a column of the files", "delete it, or rename the column in the files", at
                )

    @rule
    def _freshness_needs_daily_files(self) -> Iterator[Mistake]:
        if self.empty_days == "normal" and self.stale_after_hours is not None:
            wrong = "stale_after_hours is set, but days without files are normal"
            fix = "delete it, or set empty_days: missing"
            yield Mistake(wrong, "only one of the two", fix, at=("stale_after_hours",))

    @property
    def steps(self) -> tuple[str, ...]:
        """Return the steps in order."""
        return STEPS

    def dataset(self, step: str) -> str:
        """Return the lake id of a step; the reports have the dataset's own name."""
        return self.name if step == REPORT else f"{self.name}/{step}"

    @property
    def recipe(self) -> str:
        """Return a fingerprint of the settings that decide what is read from a file."""
        limit, text = self.max_file_mb, self.text
        # With the default limit, the hashed text keeps the form of the first release, or every file would be reread.
        declared: tuple[object, ...] = (
            self.totals if limit == type(self).model_fields["max_file_mb"].default else (self.totals, limit)
        )
        if text is not None:
            declared = (declared, text.model_dump_json())
        return hashlib.sha256(repr(declared).encode()).hexdigest()[:16]
