"""What a daily report is: the fields of its `defs.yaml`, and its steps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from tnt_platform.discovery.raw_source import RawSource
from tnt_platform.specs.dataset import DatasetSpec, SensorSpec
from tnt_platform.specs.fields import Cron, IsoDate, Regex, Unit, shown
from tnt_platform.specs.spec import Mistake, rule

FILES, REPORT = "files", "report"
STEPS = (FILES, REPORT)
FILES_KEY = ("file_key",)
REPORT_KEY = ("date",)
# Columns that the reader adds to those of the files.
READERS_OWN = frozenset({"file_key", "line_no", "raw"})


class ReportSource(RawSource):
    """Where files arrive, each under its date."""

    prefix: Annotated[str, Field(description="Folder in the raw files to look in.")] = "raw-data/"
    key_pattern: Annotated[
        Regex,
        Field(
            description="Regular expression for all of a key that follows the prefix; its group `date` is the date."
        ),
    ] = r"(?P<date>\d{4}-\d{2}-\d{2})/.+"

    @rule
    def _prefix_is_a_folder(self) -> Iterator[Mistake]:
        if not self.prefix.endswith("/"):
            wrong = f"prefix {shown(self.prefix)} is not a folder"
            yield Mistake(wrong, "a slash at its end", f"write {self.prefix}/", at=("prefix",))

    @rule
    def _pattern_has_a_date(self) -> Iterator[Mistake]:
        if "date" not in self.whole_key.groupindex:
            fix = "write it like (?P<date>\\d{4}-\\d{2}-\\d{2})/.+"
            yield Mistake("key_pattern has no group date", "the date of each file", fix, at=("key_pattern",))


class ReportSpec(DatasetSpec):
    """A report per date on the files that arrived: how many records, of what kind, compared with other days."""

    start_date: Annotated[IsoDate, Field(description="First date that is reported.")] = date(2020, 1, 1)
    source: Annotated[ReportSource, Field(description="Where files arrive.")] = Field(
        default_factory=ReportSource
    )
    totals: Annotated[
        tuple[str, ...], Field(description="Numeric columns to sum, in every file that has them.")
    ] = ()
    max_file_mb: Annotated[
        float, Field(gt=0, le=10_000, description="A larger file is rejected without being read."), Unit("MB")
    ] = 500
    empty_days: Annotated[
        Literal["missing", "normal"],
        Field(
            description="Whether a day without files fails its check (`missing`) or is expected (`normal`)."
        ),
    ] = "missing"
    sensor: Annotated[SensorSpec, Field(description="How often the bucket is compared.")] = Field(
        default_factory=SensorSpec
    )
    cron: Annotated[
        Cron | None,
        Field(description="When the day before is reported (UTC), so that a day without files is noticed."),
    ] = None

    @rule
    def _totals_are_columns_of_the_files(self) -> Iterator[Mistake]:
        for position, name in enumerate(self.totals):
            at = ("totals", position)
            if name in self.totals[:position]:
                yield Mistake(f"totals: {name} occurs twice", "each column once", "delete one of them", at)
            elif name in READERS_OWN:
                wrong = f"totals: {name} is a name that the reader uses itself"
                yield Mistake(wrong, "a column of the files", "delete it, or have the column renamed", at)

    @rule
    def _freshness_means_something(self) -> Iterator[Mistake]:
        if self.empty_days == "normal" and self.stale_after_hours is not None:
            wrong = "stale_after_hours is set, and days without files are normal"
            fix = "delete it, or set empty_days: missing"
            yield Mistake(wrong, "one of the two", fix, at=("stale_after_hours",))

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps in the order in which they build on each other."""
        return STEPS

    def dataset(self, step: str) -> str:
        """The id of a step in the lake; the reports are the dataset itself."""
        return self.name if step == REPORT else f"{self.name}/{step}"

    @property
    def recipe(self) -> str:
        """A fingerprint of everything declared that decides what is read from a file."""
        limit = self.max_file_mb
        # The text of the first release where the limit is not declared: another one would read every file again.
        declared = (
            self.totals if limit == type(self).model_fields["max_file_mb"].default else (self.totals, limit)
        )
        return hashlib.sha256(repr(declared).encode()).hexdigest()[:16]
