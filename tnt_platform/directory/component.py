"""Define the Dagster assets of a directory: one op takes the API through pages and tenants into the database."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from tnt_platform.directory.chain import DirectoryChain
from tnt_platform.directory.plausibility import directory_differences
from tnt_platform.directory.spec import DATABASE, NEWEST, PAGES, TENANTS, DirectorySpec
from tnt_platform.lake.guard_rails import REJECTED_SHARE
from tnt_platform.lake.publishing import PREVIEW_ROWS, Published
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.orchestration.component import DatasetComponent, newest_definitions
from tnt_platform.orchestration.failures import as_dagster_failure
from tnt_platform.orchestration.guard_rails import GUARD_RAIL_DESCRIPTIONS, RevisionConfig
from tnt_platform.orchestration.metadata import describe_newest, markdown_table
from tnt_platform.orchestration.newest_run import materialize_newest
from tnt_platform.orchestration.platform import Platform
from tnt_platform.orchestration.steps import StepChecks, dataset_op, selected_steps

PLAUSIBLE: Mapping[str, str] = {
    "directory_not_emptied": "At most `max_withdrawn_share` of the tenants are withdrawn, at once and over a day.",
    "few_tenants_moved": "At most `max_moved_share` of the tenants change floor, zone, unit or kind at once.",
    "few_tenants_renamed": "At most `max_renamed_share` of the tenants change their name at once.",
    "few_values_emptied": "No column is emptied at once for more than `max_emptied_share` of the tenants.",
}
CHECKS = StepChecks(
    blocking={
        PAGES: ("rows_conserved", "unique_keys"),
        TENANTS: ("rows_conserved", "unique_keys", "every_record_accounted_for", REJECTED_SHARE, *PLAUSIBLE),
        DATABASE: ("rows_conserved", "sync_adds_up"),
    },
    warning={PAGES: ("ids_on_one_page",), TENANTS: ("all_mapped",), DATABASE: ()},
    descriptions={
        "rows_conserved": "Rows in = published + quarantined + deduplicated + filtered.",
        "unique_keys": "No two rows share the key.",
        "every_record_accounted_for": "Every record of every page is a tenant, quarantined or a duplicate.",
        REJECTED_SHARE: GUARD_RAIL_DESCRIPTIONS[REJECTED_SHARE],
        **PLAUSIBLE,
        "sync_adds_up": "Created + updated + unchanged + moved rows = tenants.",
        "ids_on_one_page": "No tenant is listed on two pages.",
        "all_mapped": "Every spelling of a floor or category has a code.",
    },
)
DESCRIPTIONS: Mapping[str, str] = {
    PAGES: "Every page of the API as served, published only if together they are the whole directory.",
    TENANTS: "One row per tenant: names in three languages, matched floor and category with scores, opening hours.",
    DATABASE: "The tenants in PostgreSQL (shops, dinings): one transaction per sync, and every sync in sync_logs.",
}
STEP_KINDS: Mapping[str, set[str]] = {PAGES: {"json"}, TENANTS: {"polars", "parquet"}, DATABASE: {"postgres"}}
DIFFERENCES_SHOWN = 30


class DirectoryDataset(DatasetComponent[DirectorySpec]):
    """A paginated directory API whose tenants are matched, translated and upserted into PostgreSQL."""

    spec_type = DirectorySpec

    def definitions(self) -> dg.Definitions:
        """Build the assets, checks, job and schedule of the dataset."""
        spec = self.spec
        return newest_definitions(directory_assets(spec), spec.name, spec.cron, spec.timezone)


def directory_assets(spec: DirectorySpec) -> dg.AssetsDefinition:
    """Build the assets `<dataset>/<step>` with their checks; unpartitioned, as a directory has only a newest state."""

    @dataset_op(
        spec,
        CHECKS.specs(spec.name),
        descriptions=DESCRIPTIONS,
        kinds=STEP_KINDS,
        metadata={"source": spec.source.url},
    )
    def materialize(
        context: dg.AssetExecutionContext, config: RevisionConfig, platform: Platform
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        with as_dagster_failure(spec.name, context):
            workspace = platform.workspace()
            chain = DirectoryChain(
                spec,
                workspace,
                platform.settings(),
                run_id=context.run_id,
                database=DATABASE in selected_steps(context, spec.name, spec.steps),
                overrides=config.overrides,
            )
            with chain:
                # Read this only now: entering the chain has waited for the syncs of other runs.
                before = workspace.store.current(spec.dataset(TENANTS))
                yield from materialize_newest(
                    context, chain, CHECKS, lambda step, published: _facts(step, published, before)
                )

    return materialize


def _facts(step: str, published: Published, tenants_before: Snapshot | None) -> dict[str, Any]:
    facts = describe_newest(published, {})
    facts["preview"] = dg.MetadataValue.md(markdown_table(published.preview()))
    if step == TENANTS and published.changed and tenants_before is not None:
        differences = directory_differences(_tenants(tenants_before), _tenants(published.snapshot))
        facts["opened_closed_moved_renamed"] = dg.MetadataValue.md(
            markdown_table(differences.head(DIFFERENCES_SHOWN))
        )
    for outcome in published.checks:
        if outcome.name == "all_mapped" and outcome.sample is not None:
            facts["unmapped"] = dg.MetadataValue.md(markdown_table(outcome.sample.head(PREVIEW_ROWS)))
    return facts


def _tenants(snapshot: Snapshot) -> pl.DataFrame:
    return snapshot.scan([NEWEST]).collect()
