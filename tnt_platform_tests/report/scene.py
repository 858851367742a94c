"""A daily report, a bucket that a test fills, and a lake: the chain driven without Dagster."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tnt_platform.lake.guard_rails import NO_OVERRIDES, Overrides
from tnt_platform.lake.publishing import Published, Workspace
from tnt_platform.lake.versions import Snapshot, VersionedStore
from tnt_platform.report.chain import ReportChain
from tnt_platform.report.reconcile import survey_reports
from tnt_platform.report.spec import ReportSpec
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects

DAY = "2026-11-20"


def report_spec(**changes: object) -> ReportSpec:
    """A report as its YAML would say it."""
    return ReportSpec.model_validate({"totals": ["amount"], **changes}).placed_in(Path("daily"))


@dataclass
class ReportScene:
    """Where a test's report lives; each `run` takes place an hour after the one before."""

    folder: Path
    spec: ReportSpec = field(default_factory=report_spec)
    lake: Objects | None = None
    raw: Objects | None = None
    now: datetime = datetime(2026, 11, 21, 6, tzinfo=UTC)
    overrides: Overrides = NO_OVERRIDES

    def __post_init__(self) -> None:
        self.raw = self.raw or Objects.open((self.folder / "raw").as_uri())
        self.lake = self.lake or Objects.open((self.folder / "lake").as_uri())
        self.settings = Settings.from_environment({"TNT_HOME": str(self.folder)})
        self._random = random.Random(7)

    @property
    def workspace(self) -> Workspace:
        assert self.lake is not None
        assert self.raw is not None
        store = VersionedStore(
            self.lake,
            clock=lambda: self.now,
            entropy=self._random.randbytes,
            code_version="test",
            scratch=self.folder / "scratch",
            sleep=lambda _: None,
        )
        return Workspace(self.raw, self.lake, store, self.folder / "scratch")

    def put(self, name: str, body: bytes | str, day: str = DAY) -> None:
        """Deliver a file on a day."""
        self.workspace.raw.put(f"raw-data/{day}/{name}", body.encode() if isinstance(body, str) else body)

    def run(self, day: str = DAY) -> dict[str, Published]:
        """Both steps of a date."""
        self.now += timedelta(hours=1)
        chain = ReportChain(self.spec, self.workspace, self.settings, run_id="test", overrides=self.overrides)
        with chain:
            return {step: chain.publish(step, day) for step in self.spec.steps}

    def settle(self) -> list[str]:
        """Run what the sensor would, until nothing differs; the dates in the order they were run."""
        done: list[str] = []
        while work := survey_reports(self.spec, self.workspace).differences:
            assert len(done) < 100, "the dates never come to rest"
            for one in work:
                self.run(one.partition)
                done.append(one.partition)
        return done

    def report(self, day: str = DAY) -> dict[str, Any]:
        """The object that consumers read."""
        found: dict[str, Any] = json.loads(self.workspace.lake.get(f"reports/{day}.json"))
        return found

    def current(self, step: str = "report") -> Snapshot:
        snapshot = self.workspace.store.current(self.spec.dataset(step))
        assert snapshot is not None
        return snapshot
