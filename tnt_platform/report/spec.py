"""What a daily report is, as its YAML says it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Literal

from tnt_platform.discovery.discovery import RawSource

FILES, REPORT = "files", "report"
STEPS = (FILES, REPORT)
FILES_KEY = ("file_key",)
REPORT_KEY = ("date",)


@dataclass(frozen=True)
class ReportSpec:
    """One report over the files of each date.

    `totals` are numeric columns to sum; `empty_days` says whether a day without files is a fault.
    """

    name: str
    source: RawSource
    start_date: date
    totals: tuple[str, ...] = ()
    empty_days: Literal["missing", "normal"] = "missing"

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps in the order in which they build on each other."""
        return STEPS

    def dataset(self, step: str) -> str:
        """The id of a step in the lake; the reports are the dataset itself."""
        return self.name if step == REPORT else f"{self.name}/{step}"

    @property
    def recipe(self) -> str:
        """A fingerprint of everything in the YAML that decides what is read from a file."""
        return hashlib.sha256(repr(self.totals).encode()).hexdigest()[:16]
