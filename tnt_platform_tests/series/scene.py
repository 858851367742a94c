"""A dataset of series, a source that a test rewrites, and a lake beside it: the chain driven without Dagster."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tnt_platform.lake.publishing import Published, Workspace
from tnt_platform.lake.versions import Snapshot, VersionedStore
from tnt_platform.series.chain import SeriesChain
from tnt_platform.series.spec import SeriesSpec
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects

PRICES: Mapping[str, Any] = {
    "provider": "Somebody",
    "timezone": "UTC",
    "frequency": "M",
    "source": {"url": "prices.csv"},
    "reader": "wide",
    "table": {"date_column": "date"},
    "series": [{"code": "A_M", "column": "a", "unit": "EUR"}, {"code": "B_M", "column": "b", "unit": "EUR"}],
}


def prices(**changes: object) -> SeriesSpec:
    """A dataset of two monthly series in a CSV, as its YAML would say it; None takes a key away."""
    declared = {name: value for name, value in {**PRICES, **changes}.items() if value is not None}
    return SeriesSpec.model_validate(declared).placed_in(Path("prices"))


def csv_of(rows: Mapping[str, Sequence[object]], header: str = "date,a,b") -> bytes:
    """Date -> values, as the publisher's file."""
    lines = [
        header,
        *(",".join([day, *("" if v is None else str(v) for v in values)]) for day, values in rows.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n"


@dataclass
class SeriesScene:
    """Where a test's dataset lives; each `run` takes place an hour after the one before."""

    folder: Path
    spec: SeriesSpec = field(default_factory=prices)
    environment: Mapping[str, str] = field(default_factory=dict)
    lake: Objects | None = None
    now: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def __post_init__(self) -> None:
        self.raw = Objects.open((self.folder / "raw").as_uri())
        self.lake = self.lake or Objects.open((self.folder / "lake").as_uri())
        self.settings = Settings.from_environment({"TNT_HOME": str(self.folder), **self.environment})
        self._random = random.Random(7)

    @property
    def workspace(self) -> Workspace:
        assert self.lake is not None
        store = VersionedStore(
            self.lake,
            clock=lambda: self.now,
            entropy=self._random.randbytes,
            code_version="test",
            scratch=self.folder / "scratch",
            sleep=lambda _: None,
        )
        return Workspace(self.raw, self.lake, store, self.folder / "scratch")

    def publish(self, body: bytes, **options: Any) -> dict[str, Published]:
        """Put a new file at the source and run all steps."""
        self.raw.put("prices.csv", body)
        return self.run(**options)

    def run(self, **options: Any) -> dict[str, Published]:
        """All steps, in order."""
        self.now += timedelta(hours=1)
        chain = SeriesChain(self.spec, self.workspace, self.settings, run_id="test", **options)
        with chain:
            done = {step: chain.publish(step) for step in self.spec.steps}
            chain.send_notice()
        return done

    def load(self, file: Path, **options: Any) -> dict[str, Published]:
        """Run all steps on a file that somebody downloaded."""
        return self.run(file=file, **options)

    @property
    def current(self) -> Snapshot:
        snapshot = self.workspace.store.current(self.spec.name)
        assert snapshot is not None
        return snapshot

    @property
    def published(self) -> pl.DataFrame:
        """The published observations, sorted by key."""
        return self.current.scan().sort("internal_series_code", "period").collect()

    def values(self, code: str = "A_M") -> dict[str, float]:
        """Period -> value of one series."""
        rows = self.published.filter(internal_series_code=code)
        return {f"{period}": value for period, value in rows.select("period", "value").iter_rows()}


def with_url(spec: SeriesSpec, url: str, **changes: Any) -> SeriesSpec:
    """The dataset with another source."""
    return spec.model_copy(update={"source": spec.source.model_copy(update={"url": url, **changes})})
