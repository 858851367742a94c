"""Define the Dagster assets of a dataset of series: one op takes the source through capture to observations."""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from tnt_platform.lake.guard_rails import REJECTED_SHARE, REVISED_SHARE
from tnt_platform.lake.publishing import PREVIEW_ROWS, Published
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.orchestration.component import DatasetComponent, newest_definitions
from tnt_platform.orchestration.failures import as_dagster_failure
from tnt_platform.orchestration.guard_rails import GUARD_RAIL_DESCRIPTIONS, RevisionConfig
from tnt_platform.orchestration.metadata import describe_newest, markdown_table
from tnt_platform.orchestration.newest_run import materialize_newest
from tnt_platform.orchestration.platform import Platform
from tnt_platform.orchestration.steps import StepChecks, dataset_op
from tnt_platform.series.chain import SeriesChain
from tnt_platform.series.freshness import CONTENT_IS_FRESH
from tnt_platform.series.plots import MAX_SERIES, series_plot
from tnt_platform.series.spec import CAPTURE, NEWEST, OBSERVATIONS, SERIES, SeriesSpec
from tnt_platform.series.unnamed import COLUMNS_ARE_NAMED

CHECKS = StepChecks(
    blocking={
        CAPTURE: ("rows_conserved", "unique_keys"),
        SERIES: ("rows_conserved", "unique_keys", REJECTED_SHARE),
        OBSERVATIONS: ("rows_conserved", "unique_keys", "history_not_shrinking", REVISED_SHARE),
    },
    warning={
        CAPTURE: (),
        SERIES: ("series_have_observations", "no_gaps", COLUMNS_ARE_NAMED),
        OBSERVATIONS: ("no_jumps", CONTENT_IS_FRESH),
    },
    descriptions={
        "rows_conserved": "Cells in = observations + quarantined + repeated + not available.",
        "unique_keys": "No two observations of a series belong to one period.",
        "history_not_shrinking": "No published observation is missing from the newest capture.",
        REJECTED_SHARE: GUARD_RAIL_DESCRIPTIONS[REJECTED_SHARE],
        REVISED_SHARE: GUARD_RAIL_DESCRIPTIONS[REVISED_SHARE],
        "series_have_observations": "Every declared series has a value.",
        "no_gaps": "No period is missing inside a series, by the calendar of its frequency.",
        COLUMNS_ARE_NAMED: "The file has no new column with values that the YAML does not name.",
        CONTENT_IS_FRESH: "The newest period is no older than the publisher's usual delay, however often runs succeed.",
        "no_jumps": "No new value differs from the one before by far more than usual in its series.",
    },
)
DESCRIPTIONS: Mapping[str, str] = {
    CAPTURE: "The publisher's file as delivered, kept once per content.",
    SERIES: "The newest capture, normalized: one row per observation; cells that can't be read are in quarantine.",
    OBSERVATIONS: "Every observation ever published, with its revisions, versioned and partitioned.",
}
STEP_KINDS: Mapping[str, set[str]] = {
    CAPTURE: {"file"},
    SERIES: {"polars", "parquet"},
    OBSERVATIONS: {"parquet"},
}

COLUMNS: Mapping[str, str] = {
    "internal_series_code": "Code of the series, as the YAML names it.",
    "period": "First day of the period of the value: day, week (Monday), month, quarter or year.",
    "obs_time": "Start of the period at midnight in the dataset's time zone.",
    "value": "The observation.",
    "unit": "Unit of the value.",
    "frequency": "D, W, M, Q or A: daily, weekly, monthly, quarterly, annual.",
    "printed_date": "The date as the source prints it.",
    "place": "Where the value is in the source: cell, or line and column.",
    "collection_date": "When this value was first collected (UTC).",
    "capture": "Hash of the captured file that brought this value; see <dataset>/capture.",
}


class SeriesScaffolder(dg.Scaffolder):
    """Writes a commented defs.yaml, in order but for the unit to fill in, for `dg scaffold defs`."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Write the file, unless there is one.

        Raises:
            FileExistsError: there is a dataset already.
        """
        path = request.target_path / "defs.yaml"
        if path.exists():
            raise FileExistsError(f"{path} exists already and is not overwritten; choose another name")
        template = files(__package__).joinpath("defs_template.yaml").read_text(encoding="utf-8")
        path.write_text(template.replace("MY_SERIES", request.target_path.name.upper()), encoding="utf-8")


@dg.scaffold_with(SeriesScaffolder)
class SeriesDataset(DatasetComponent[SeriesSpec]):
    """A published source of series: captured, read, and its history published."""

    spec_type = SeriesSpec

    def definitions(self) -> dg.Definitions:
        """Build assets, checks, job and schedule of the dataset."""
        spec = self.spec
        return newest_definitions(series_assets(spec), spec.name, spec.cron, spec.timezone)


class SeriesRun(RevisionConfig):
    """Options of a run; the schedule uses the defaults.

    `file`: capture this local file instead of the source. `accept_vanished`: remove observations that the publisher
    withdrew; `accept_revised`: publish a series of which most values are revised. `by_hand`: publish although a
    rollback has paused the dataset.
    """

    file: str | None = None
    by_hand: bool = False


def series_assets(spec: SeriesSpec) -> dg.AssetsDefinition:
    """Build the assets `<dataset>/<step>` with their checks; unpartitioned, as a source has only a newest state."""

    @dataset_op(
        spec,
        CHECKS.specs(spec.name),
        descriptions=DESCRIPTIONS,
        kinds=STEP_KINDS,
        metadata={"source": spec.source.url, "provider": spec.provider},
    )
    def materialize(
        context: dg.AssetExecutionContext, config: SeriesRun, platform: Platform
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        with as_dagster_failure(spec.name, context), _chain(spec, platform, config, context) as chain:
            yield from materialize_newest(context, chain, CHECKS, _metadata, _not_available)
            if version := chain.send_notice():
                context.log.info(f"notified subscribers of version {version}")

    return materialize


def _chain(
    spec: SeriesSpec, platform: Platform, config: SeriesRun, context: dg.AssetExecutionContext
) -> SeriesChain:
    return SeriesChain(
        spec,
        platform.workspace(),
        platform.settings(),
        run_id=context.run_id,
        file=Path(config.file) if config.file else None,
        overrides=config.overrides,
        by_hand=config.by_hand,
        progress=context.log.info,
    )


def _not_available(published: Published) -> str:
    return f"{published.counts.filtered} not available"


def _metadata(step: str, published: Published) -> dict[str, Any]:
    """Describe a materialization: counts, changes, a preview, reasons for rejection and a plot of the series."""
    snapshot, facts = published.snapshot, describe_newest(published, COLUMNS)
    if step == SERIES:
        newest = snapshot.scan([NEWEST]).collect()
        facts["preview"] = dg.MetadataValue.md(markdown_table(_newest_rows(newest)))
        facts["by_series"] = dg.MetadataValue.md(markdown_table(_by_series(newest)))
        if newest.height:
            facts["plot"] = dg.MetadataValue.md(
                series_plot(newest, snapshot.dataset.removesuffix(f"/{SERIES}"))
            )
    elif step == OBSERVATIONS:
        facts |= _history(snapshot, changed=published.changed)
    else:
        facts["preview"] = dg.MetadataValue.md(markdown_table(snapshot.scan().tail(PREVIEW_ROWS).collect()))
    return facts


def _newest_rows(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("period", "internal_series_code", descending=[True, False]).head(PREVIEW_ROWS)


def _by_series(rows: pl.DataFrame) -> pl.DataFrame:
    return (
        rows.sort("period")
        .group_by("internal_series_code")
        .agg(
            pl.col("unit").last(),
            pl.col("frequency").last(),
            observations=pl.len(),
            first=pl.col("period").first(),
            last=pl.col("period").last(),
            newest_value=pl.col("value").last(),
        )
        .sort("internal_series_code")
        .head(MAX_SERIES)
    )


def _history(snapshot: Snapshot, *, changed: bool) -> dict[str, Any]:
    """Return what the manifest says about the changes, with a table of revisions."""
    about = snapshot.manifest.about
    facts: dict[str, Any] = {
        "series": about.get("series_count", 0),
        "partitions": snapshot.manifest.partitions - 1,
    }
    if changed:
        log = about.get("changelog", {})
        facts |= {
            "new_series": len(log.get("new_series", [])),
            "updated_series": len(log.get("updated_series", [])),
        }
        if corrections := log.get("corrections"):
            table = pl.DataFrame(corrections[:PREVIEW_ROWS])
            facts["corrections"] = dg.MetadataValue.md(markdown_table(table))
    return facts
