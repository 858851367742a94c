"""The only Dagster entry point: every dataset below defs/, and the platform they run on."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from tnt_platform.components import component_of
from tnt_platform.errors import ConfigError
from tnt_platform.kinds import DEFS, load_spec
from tnt_platform.orchestration.broken import broken_dataset
from tnt_platform.orchestration.event_sensor import EventListener, event_sensor
from tnt_platform.orchestration.platform import Platform
from tnt_platform.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    """Load `defs/<dataset>/defs.yaml` of each dataset on its own, and what they share."""
    loaded = [_load(path) for path in sorted(DEFS.glob("*/defs.yaml"))]
    listeners = [listener for _, listener in loaded if listener is not None]
    has_queue = bool(Settings.from_environment().event_queue_url)
    return dg.Definitions.merge(
        *(definitions for definitions, _ in loaded),
        # In process: a second process costs the imports again, 25-41 s instead of 6-12 s for a run with nothing to do.
        dg.Definitions(
            sensors=[event_sensor(listeners)] if listeners and has_queue else [],
            resources={"platform": Platform()},
            executor=dg.in_process_executor,
        ),
    )


def dataset_definitions(path: Path) -> dg.Definitions:
    """The definitions of one dataset; of a broken one, an asset that says what is wrong.

    Not `dg.load_from_defs_folder`, which loads all or nothing: one invalid `defs.yaml` would end the runs, sensors and
    schedules of every other dataset.
    """
    return _load(path)[0]


def _load(path: Path) -> tuple[dg.Definitions, EventListener | None]:
    try:
        component = component_of(load_spec(path))
        return component.definitions(), component.event_listener()
    except ConfigError as error:
        return broken_dataset(path.parent.name, str(error)), None
    except Exception as error:  # noqa: BLE001 - whatever Dagster refuses in one dataset is that dataset's failure
        return broken_dataset(path.parent.name, f"{path} can't be turned into assets: {error}"), None
