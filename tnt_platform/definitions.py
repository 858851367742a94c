"""The only Dagster entry point: every dataset below defs/, and the platform they run on."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from tnt_platform.orchestration.platform import Platform


@dg.definitions
def defs() -> dg.Definitions:
    """Load `defs/<dataset>/defs.yaml` of each dataset."""
    datasets = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    return dg.Definitions.merge(
        datasets,
        # In process: a second process costs the imports again, 25-41 s instead of 6-12 s for a run with nothing to do.
        dg.Definitions(resources={"platform": Platform()}, executor=dg.in_process_executor),
    )
