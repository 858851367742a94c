"""`DailyReportDataset`: one folder with a `defs.yaml` becomes a daily report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal

import dagster as dg
from pydantic import Field, model_validator

from tnt_platform.orchestration.dataset import Dataset
from tnt_platform.report.assets import report_assets
from tnt_platform.report.model import ReportSourceModel, source_of
from tnt_platform.report.sensor import daily_schedule, report_sensor, sweep_schedule
from tnt_platform.report.spec import ReportSpec
from tnt_platform.specs.fields import Cron, IsoDate, SensorModel

RESERVED = frozenset({"file_key", "line_no", "raw"})


class DailyReportDataset(Dataset):
    """A report a date over the files that arrived: how many records, of what, compared with other days.

    `totals` are numeric columns to sum wherever a file has them. `empty_days: normal` says that a day without files is
    no fault. `cron` (UTC) looks at the day before, so that one without files is noticed.
    """

    start_date: IsoDate = "2020-01-01"
    source: ReportSourceModel = Field(default_factory=ReportSourceModel)
    totals: Sequence[str] = ()
    empty_days: Literal["missing", "normal"] = "missing"
    sensor: SensorModel = Field(default_factory=SensorModel)
    cron: Cron | None = None

    @model_validator(mode="after")
    def _consistent(self) -> DailyReportDataset:
        if twice := sorted({name for name in self.totals if list(self.totals).count(name) > 1}):
            raise ValueError(f"totals: {', '.join(twice)} occurs more than once; name each column once")
        if taken := sorted(RESERVED & set(self.totals)):
            raise ValueError(f"totals: {', '.join(taken)} can't be summed; the reader uses that name itself")
        if self.empty_days == "normal" and self.stale_after_hours is not None:
            raise ValueError(
                "stale_after_hours: days without files are normal here, so that no report is no fault; remove one of "
                "the two"
            )
        source_of(self.source)
        return self

    def spec(self, folder: Path) -> ReportSpec:
        """The dataset as the flows know it; the folder names it."""
        return ReportSpec(
            name=folder.name,
            source=source_of(self.source),
            start_date=date.fromisoformat(self.start_date),
            totals=tuple(self.totals),
            empty_days=self.empty_days,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets, checks, sensor, schedules and job of the dataset."""
        spec = self.spec(context.path)
        assets = report_assets(spec, self.about())
        selection = dg.AssetSelection.assets(*assets.keys)
        job = dg.define_asset_job(f"{spec.name}_job", selection=selection)
        schedules = [sweep_schedule(spec, self.sensor)]
        if self.cron:
            schedules.append(daily_schedule(spec, self.cron))
        return dg.Definitions(
            assets=[assets],
            sensors=[report_sensor(spec, self.sensor, selection)],
            schedules=schedules,
            jobs=[job],
        )
