"""`TransitDataset`: one folder with a `defs.yaml` becomes a whole transit dataset."""

from __future__ import annotations

import dagster as dg

from tnt_platform.orchestration.component import DatasetComponent
from tnt_platform.transit.assets import transit_assets
from tnt_platform.transit.sensor import reconciling_sensor, sweep_schedule
from tnt_platform.transit.spec import TransitSpec


class TransitDataset(DatasetComponent[TransitSpec]):
    """Files of expected transit times, compared with the actual ones."""

    spec_type = TransitSpec

    def definitions(self) -> dg.Definitions:
        """Build assets, checks, sensor, full reconciliation and job of the dataset."""
        assets = transit_assets(self.spec)
        selection = dg.AssetSelection.assets(*assets.keys)
        sweep = sweep_schedule(self.spec, selection)
        return dg.Definitions(
            assets=[assets],
            sensors=[reconciling_sensor(self.spec, selection)],
            schedules=[sweep],
            jobs=[sweep.job],
        )
