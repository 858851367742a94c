"""A dataset, a bucket that a test fills, and a lake beside it: the chain driven without Dagster."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import polars as pl

from tnt_platform.discovery.comparison import Reconciliation
from tnt_platform.lake.guard_rails import NO_OVERRIDES, Overrides
from tnt_platform.lake.publishing import Published, Workspace
from tnt_platform.lake.versions import Snapshot, VersionedStore
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects
from tnt_platform.transit.chain import Chain
from tnt_platform.transit.reconcile import survey
from tnt_platform.transit.spec import TransitSpec

REST_TICKS = 4
# For tests of something else than the guard rails.
ALL_ACCEPTED = Overrides(accept_rejected=True, accept_vanished=True)
DAY = "2026-01-12"

# Files whose expected and actual dates are both columns, as `deliveries`, but small.
PARCELS: Mapping[str, Any] = {
    "source": {
        "prefix": "in/",
        "key_pattern": r"(?:(?P<date>\d{4}-\d{2}-\d{2})/)?(?P<sender>[a-z]+)\.csv(?:\.gz)?",
    },
    "layouts": [
        {"files": "*", "columns": {"parcel": "parcel", "expected_date": "due", "actual_date": "came"}}
    ],
    "columns": [
        {"name": "parcel", "required": True},
        {"name": "expected_date", "type": "date", "required": True},
        {"name": "actual_date", "type": "date", "required": True},
    ],
    "identity": ["parcel"],
    "passes_when": "not_late",
    "summary_by": ["sender"],
}


def parcels(folder: Path, *, source: Mapping[str, object] | None = None, **changes: object) -> TransitSpec:
    """The dataset `parcels` as its YAML would say it; `source` changes single fields of the source."""
    attributes = {**PARCELS, **changes}
    attributes["source"] = {**PARCELS["source"], **(source or {})}
    return TransitSpec.model_validate(attributes).placed_in(folder / "parcels")


class Crash(Exception):
    """What a killed process looks like to the code that was running."""


class FragileObjects(Objects):
    """A store whose n-th write from now kills the writer, before or after it took effect."""

    writes_left: int | None = None
    takes_effect = False

    def kill_at(self, write: int, *, takes_effect: bool) -> None:
        self.writes_left, self.takes_effect = write, takes_effect

    def heal(self) -> None:
        self.writes_left = None

    def put(self, key: str, data: bytes) -> None:
        self._write(lambda: super(FragileObjects, self).put(key, data))

    def put_file(self, key: str, path: Path) -> None:
        self._write(lambda: super(FragileObjects, self).put_file(key, path))

    def compare_and_swap(self, key: str, **swap: Any) -> Any:
        return self._write(lambda: super(FragileObjects, self).compare_and_swap(key, **swap))

    def _write(self, effect: Callable[[], Any]) -> Any:
        if self.writes_left is None:
            return effect()
        self.writes_left -= 1
        if self.writes_left > 0:
            return effect()
        # Whatever else the dying process tries to write is lost too.
        if self.writes_left == 0 and self.takes_effect:
            effect()
        raise Crash


@dataclass
class Scene:
    """One dataset with its raw files (`raw`) and a lake in a folder of its own."""

    spec: TransitSpec
    raw: Objects
    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    overrides: Overrides = NO_OVERRIDES

    def __post_init__(self) -> None:
        scratch = self.home / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        self.lake = FragileObjects.open((self.home / "lake").as_uri())
        store = VersionedStore(
            self.lake,
            clock=lambda: datetime.now(UTC),
            entropy=random.SystemRandom().randbytes,
            code_version="test",
            scratch=scratch,
            concurrency=2,
        )
        self.workspace = Workspace(self.raw, self.lake, store, scratch)
        self.settings = Settings.from_environment({"TNT_HOME": str(self.home), **self.environment})

    def described_by(self, spec: TransitSpec) -> Self:
        """The same place after a change of the YAML."""
        self.spec = spec
        return self

    def chain(self, **options: Any) -> Chain:
        return Chain(self.spec, self.workspace, self.settings, **{"overrides": self.overrides, **options})

    def run(
        self, date: str = DAY, *, steps: Sequence[str] | None = None, **options: Any
    ) -> dict[str, Published]:
        """Take one date through the steps; return the outcome of each."""
        chain = self.chain(**options)
        return {step: chain.publish(step, date) for step in steps or self.spec.steps}

    def survey(self, **window: Any) -> Reconciliation:
        return survey(self.spec, self.workspace, **window)

    def tick(self, **options: Any) -> list[str]:
        """What the sensor and its runs do: look, and take each date that differs through the chain."""
        dates = [each.partition for each in self.survey().differences]
        for date in dates:
            self.run(date, **options)
        return dates

    def settle(self) -> None:
        """Tick until there is nothing to do, which must come soon."""
        for _ in range(REST_TICKS):
            if not self.tick():
                return
        raise AssertionError(f"still not at rest: {self.survey().differences}")

    def snapshot(self, step: str) -> Snapshot:
        snapshot = self.workspace.store.current(self.spec.dataset(step))
        assert snapshot is not None, f"{step} was never published"
        return snapshot

    def rows(self, step: str = "results", date: str | None = None) -> pl.DataFrame:
        return self.snapshot(step).scan(None if date is None else [date]).collect()

    def rejected(self, step: str = "shipments") -> list[tuple[str, int, str]]:
        """(last part of the key, line, reason_code) of every row in quarantine."""
        frame = self.snapshot(step).quarantine().sort("file_key", "line_no")
        rows = frame.select("file_key", "line_no", "reason_code").iter_rows()
        return [(key.rpartition("/")[2], line, code) for key, line, code in rows]

    def versions(self) -> dict[str, str | None]:
        """The published version of every step, answers included."""
        found = {}
        for step in (*self.spec.steps, "answers"):
            snapshot = self.workspace.store.current(self.spec.dataset(step))
            found[step] = snapshot.version if snapshot else None
        return found

    def check_conservation(self) -> None:
        """No published partition has lost a row, and what it counts is what it holds."""
        for step in self.spec.steps:
            snapshot = self.workspace.store.current(self.spec.dataset(step))
            if snapshot is None:
                continue
            held = dict(snapshot.files.group_by("partition").agg(pl.col("rows").sum()).iter_rows())
            rejected = dict(snapshot.quarantine().group_by("partition").len().iter_rows())
            for row in snapshot.partitions.iter_rows(named=True):
                parts = [row[n] for n in ("published", "quarantined", "deduplicated", "filtered")]
                where = f"{step} {row['partition']}: {row['rows_in']} in, {parts}"
                assert row["rows_in"] == sum(parts), where
                assert row["published"] == held.get(row["partition"], 0), where
                assert row["quarantined"] == rejected.get(row["partition"], 0), where

    def check_at_rest(self) -> None:
        """Nothing is left to do, and doing it all again publishes nothing."""
        assert self.survey().differences == []
        before = self.versions()
        for date in self.snapshot("shipments").partitions["partition"]:
            outcomes = self.run(date)
            assert not any(outcome.changed for outcome in outcomes.values())
        assert self.versions() == before


def with_limits(spec: TransitSpec, **limits: Any) -> TransitSpec:
    """The dataset with other limits of its HTTP client."""
    assert spec.rate_api is not None
    api = spec.rate_api.model_copy(update={"limits": replace(spec.rate_api.limits, **limits)})
    return spec.model_copy(update={"rate_api": api})
