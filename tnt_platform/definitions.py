"""The only Dagster entry point: every dataset below defs/, and the platform they run on."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from tnt_platform.components import component_of
from tnt_platform.errors import ConfigError
from tnt_platform.kinds import DEFS, load_spec
from tnt_platform.orchestration.broken import broken_dataset
from tnt_platform.orchestration.platform import Platform


@dg.definitions
def defs() -> dg.Definitions:
    """Load `defs/<dataset>/defs.yaml` of each dataset on its own."""
    return dg.Definitions.merge(
        *(dataset_definitions(path) for path in sorted(DEFS.glob("*/defs.yaml"))),
        # In process: a second process costs the imports again, 25-41 s instead of 6-12 s for a run with nothing to do.
        dg.Definitions(resources={"platform": Platform()}, executor=dg.in_process_executor),
    )


def dataset_definitions(path: Path) -> dg.Definitions:
    """The definitions of one dataset; of a broken one, an asset that says what is wrong.

    Not `dg.load_from_defs_folder`, which loads all or nothing: one invalid `defs.yaml` would end the runs, sensors and
    schedules of every other dataset.
    """
    try:
        return component_of(load_spec(path)).definitions()
    except ConfigError as error:
        return broken_dataset(path.parent.name, str(error))
    except Exception as error:  # noqa: BLE001 - whatever Dagster refuses in one dataset is that dataset's failure
        return broken_dataset(path.parent.name, f"{path} can't be turned into assets: {error}")
