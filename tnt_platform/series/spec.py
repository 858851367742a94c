"""What a series dataset is, as its YAML says it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tnt_platform.series.readers.layouts import (
    DateColumnLayout,
    DateRowLayout,
    LongLayout,
    WideLayout,
    WideRowsLayout,
)
from tnt_platform.series.transforms.observations import Conventions

CAPTURE, SERIES, OBSERVATIONS = "capture", "series", "observations"
STEPS = (CAPTURE, SERIES, OBSERVATIONS)
# The one partition of `<dataset>/series`: what the newest capture says.
NEWEST = "newest"
# A partition of the published dataset without rows: its ledger says which capture the version was made from.
SOURCE = "source"
OBSERVATION_KEY = ("internal_series_code", "period")

Layout = DateColumnLayout | DateRowLayout | WideLayout | WideRowsLayout | LongLayout
Reader = Literal["date_column", "date_row", "wide", "long"]
Strategy = Literal["series_year_month", "series_year", "year", "date"]


@dataclass(frozen=True)
class SeriesSource:
    """Where the publisher keeps the file.

    `url`: http(s)://, file:///, s3://bucket/key, or a key below the raw files. {YYYY}, {YY} and {MM} in it stand for
    a month: the newest that exists is taken, at most `months_back` before this one. `member`: a glob for the
    file inside a zip.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    months_back: int = 12
    member: str | None = None
    max_size_bytes: int = 100_000_000
    timeout_s: float = 60.0


@dataclass(frozen=True)
class SeriesSpec:
    """One dataset of series.

    `history`: `complete` when each file holds all that was ever published (what vanishes is suspicious), `window` when
    it holds only the newest periods. `notify_topic` may be a `${VARIABLE}`.
    """

    name: str
    provider: str
    source: SeriesSource
    reader: Reader
    layout: Layout
    conventions: Conventions
    strategy: Strategy = "series_year_month"
    history: Literal["complete", "window"] = "complete"
    max_gap_periods: int | None = None
    jump_limit: float | None = None
    lock_key: str | None = None
    lock_timeout_s: float = 300.0
    notify_topic: str = "${SNS_PROJECTION_TOPIC_ARN:-}"

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps in the order in which they build on each other."""
        return STEPS

    def dataset(self, step: str) -> str:
        """The id of a step in the lake; the observations are the dataset itself, as old consumers read it."""
        return self.name if step == OBSERVATIONS else f"{self.name}/{step}"

    @property
    def recipe(self) -> str:
        """A fingerprint of everything in the YAML that decides what observations a capture gives."""
        said = (self.reader, self.layout, self.conventions, self.source.member)
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]
