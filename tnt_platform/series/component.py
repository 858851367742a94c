"""The assets of a series dataset: one op that takes the source through capture, series and observations."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from tnt_platform.lake.publishing import Published
from tnt_platform.orchestration.component import DatasetComponent, about, newest_definitions
from tnt_platform.orchestration.failures import as_dagster_failure
from tnt_platform.orchestration.newest import materialize_newest
from tnt_platform.orchestration.platform import Platform
from tnt_platform.orchestration.steps import StepChecks, StepStory
from tnt_platform.series.chain import SeriesChain
from tnt_platform.series.metadata import series_metadata
from tnt_platform.series.scaffold import SeriesScaffolder
from tnt_platform.series.spec import CAPTURE, OBSERVATIONS, SERIES, SeriesSpec

CHECKS = StepChecks(
    blocking={
        CAPTURE: ("rows_conserved", "unique_keys"),
        SERIES: ("rows_conserved", "unique_keys"),
        OBSERVATIONS: ("rows_conserved", "unique_keys", "history_not_shrinking"),
    },
    warning={
        CAPTURE: (),
        SERIES: ("series_have_observations", "no_gaps"),
        OBSERVATIONS: ("no_jumps",),
    },
    descriptions={
        "rows_conserved": "Cells in = observations + quarantined + repeated + not available.",
        "unique_keys": "No two observations of a series belong to one period.",
        "history_not_shrinking": "What was published is still there: a publisher that drops ten years is not followed.",
        "series_have_observations": "Every series that the file should hold has a value.",
        "no_gaps": "No period is missing inside a series, by the calendar of its frequency.",
        "no_jumps": "No new value is far from what its series usually does.",
    },
)
DESCRIPTIONS: Mapping[str, str] = {
    CAPTURE: "The publisher's file as it came, kept once per content.",
    SERIES: "The newest capture, read and normalized: one row an observation; what can't be read is in quarantine.",
    OBSERVATIONS: "Every observation ever published, with corrections, versioned and partitioned.",
}
STEP_KINDS: Mapping[str, set[str]] = {
    CAPTURE: {"file"},
    SERIES: {"polars", "parquet"},
    OBSERVATIONS: {"parquet"},
}


@dg.scaffold_with(SeriesScaffolder)
class SeriesDataset(DatasetComponent[SeriesSpec]):
    """A published source of series: captured, read, and its history published."""

    spec_type = SeriesSpec

    def definitions(self) -> dg.Definitions:
        """Build assets, checks, job and schedule of the dataset."""
        spec = self.spec
        return newest_definitions(series_assets(spec), spec.name, spec.cron, spec.timezone)


class SeriesRun(dg.Config):
    """How a run goes about it; the defaults are right for the schedule.

    `file`: capture this local file instead of the source. `accept_vanished`: let observations go that the
    publisher withdrew. `by_hand`: go on although the dataset was rolled back.
    """

    file: str | None = None
    accept_vanished: bool = False
    by_hand: bool = False


def series_assets(spec: SeriesSpec) -> dg.AssetsDefinition:
    """The assets `<dataset>/<step>` with their checks; not partitioned in Dagster: a source has only a newest state."""
    story = StepStory(
        DESCRIPTIONS, STEP_KINDS, about(spec), {"source": spec.source.url, "provider": spec.provider}
    )

    @story.one_op(spec.name, {step: spec.dataset(step) for step in spec.steps}, CHECKS.specs(spec.name))
    def materialize(
        context: dg.AssetExecutionContext, config: SeriesRun, platform: Platform
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        with as_dagster_failure(spec.name), _chain(spec, platform, config, context) as chain:
            yield from materialize_newest(context, chain, CHECKS, partial(series_metadata, spec), _told)
            if told := chain.send_notice():
                context.log.info(f"subscribers know of version {told}")

    return materialize


def _chain(
    spec: SeriesSpec, platform: Platform, config: SeriesRun, context: dg.AssetExecutionContext
) -> SeriesChain:
    return SeriesChain(
        spec,
        platform.place(),
        platform.settings(),
        run_id=context.run_id,
        file=Path(config.file) if config.file else None,
        accept_vanished=config.accept_vanished,
        by_hand=config.by_hand,
        progress=context.log.info,
    )


def _told(published: Published) -> str:
    return f"{published.counts.filtered} not available"
