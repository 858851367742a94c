"""The assets of a directory: one op that takes the API through pages and tenants into the database."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from tnt_platform.components.cost import Meter
from tnt_platform.components.failures import as_dagster_failure
from tnt_platform.components.metadata import (
    REASON_CHARS,
    column_schema,
    in_reading_order,
    markdown_table,
)
from tnt_platform.components.platform import Platform
from tnt_platform.components.steps import StepChecks, StepStory, retry_later
from tnt_platform.errors import CheckFailed
from tnt_platform.flows.directory.chain import DirectoryChain
from tnt_platform.flows.directory.spec import DATABASE, NEWEST, PAGES, TENANTS, DirectorySpec
from tnt_platform.flows.directory.tenants import directory_differences
from tnt_platform.flows.publishing import PREVIEW_ROWS, CheckOutcome, Published
from tnt_platform.lake.snapshot import Snapshot

CHECKS = StepChecks(
    blocking={
        PAGES: ("rows_conserved", "unique_keys"),
        TENANTS: ("rows_conserved", "unique_keys", "every_record_accounted_for", "directory_not_emptied"),
        DATABASE: ("rows_conserved", "sync_adds_up"),
    },
    warning={PAGES: ("ids_on_one_page",), TENANTS: ("all_mapped",), DATABASE: ()},
    descriptions={
        "rows_conserved": "Rows in = published + quarantined + deduplicated + filtered.",
        "unique_keys": "No two rows share the key.",
        "every_record_accounted_for": "Every record of every page is a tenant, quarantined or a repetition.",
        "directory_not_emptied": "No large part of the directory disappears at once.",
        "sync_adds_up": "Created + updated + unchanged + moved rows are the tenants.",
        "ids_on_one_page": "No tenant is listed on two pages.",
        "all_mapped": "Every spelling of a floor or category is known.",
    },
)
DESCRIPTIONS: Mapping[str, str] = {
    PAGES: "Every page of the API as it came, published only when together they are the whole directory.",
    TENANTS: "One row a tenant: names in three languages, floor and category matched with their score, opening hours.",
    DATABASE: "The tenants in PostgreSQL (shops, dinings), one transaction a sync, each sync in sync_logs.",
}
STEP_KINDS: Mapping[str, set[str]] = {PAGES: {"json"}, TENANTS: {"polars", "parquet"}, DATABASE: {"postgres"}}
DIFFERENCES_SHOWN = 30


class DirectoryRun(dg.Config):
    """How a run goes about it. `accept_vanished`: go on although a large part of the directory is gone."""

    accept_vanished: bool = False


def directory_assets(
    spec: DirectorySpec,
    *,
    owners: Sequence[str],
    tags: Mapping[str, str],
    description: str,
    freshness: dg.FreshnessPolicy | None,
) -> dg.AssetsDefinition:
    """The assets `<dataset>/<step>` with their checks; not partitioned: a directory has only a newest state."""
    story = StepStory(
        DESCRIPTIONS, STEP_KINDS, owners, tags, description, freshness, {"source": spec.source.url}
    )
    tables = {step: spec.dataset(step) for step in spec.steps}

    @dg.multi_asset(
        name=spec.name,
        specs=story.specs(spec.name, tables),
        can_subset=True,
        check_specs=CHECKS.specs(spec.name),
        retry_policy=retry_later(),
        op_tags={"tnt/dataset": spec.name},
    )
    def materialize(
        context: dg.AssetExecutionContext, config: DirectoryRun, platform: Platform
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        with as_dagster_failure(spec.name):
            selected = [
                step for step in spec.steps if dg.AssetKey([spec.name, step]) in context.selected_asset_keys
            ]
            chain = DirectoryChain(
                spec,
                platform.place(),
                platform.settings(),
                run_id=context.run_id,
                database=DATABASE in selected,
                accept_withdrawn=config.accept_vanished,
            )
            with chain:
                for step in selected:
                    yield from _materialize(context, chain, step)

    return materialize


def _materialize(
    context: dg.AssetExecutionContext, chain: DirectoryChain, step: str
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    key = dg.AssetKey([chain.spec.name, step])
    meter = Meter.start(chain.place)
    before = chain.place.store.current(chain.spec.dataset(step))
    try:
        published = chain.publish(step)
    except CheckFailed as error:
        yield from CHECKS.results(context, key, [o for o in error.outcomes if isinstance(o, CheckOutcome)])
        raise
    counts = published.counts
    context.log.info(
        f"{step}: {counts.rows_in} in, {counts.published} published, {counts.quarantined} quarantined"
        + ("" if published.changed else " (unchanged)")
    )
    facts = _facts(step, published, before) | meter.step_cost(chain.place, chain.settings, published)
    yield dg.MaterializeResult(
        asset_key=key, metadata=in_reading_order(facts), tags={"tnt/version": published.snapshot.version}
    )
    yield from CHECKS.results(context, key, published.checks)


def _facts(step: str, published: Published, before: Snapshot | None) -> dict[str, Any]:
    snapshot, counts = published.snapshot, published.counts
    facts: dict[str, Any] = {
        "rows_in": counts.rows_in,
        "rows_published": counts.published,
        "rows_quarantined": counts.quarantined,
        "rows_deduplicated": counts.deduplicated,
        "changed": published.changed,
        **published.facts,
        "preview": dg.MetadataValue.md(markdown_table(published.preview())),
        "size_bytes": snapshot.manifest.size_bytes,
        "duration_s": round(published.duration_s, 3),
        "dagster/column_schema": column_schema(snapshot),
        "dagster/uri": snapshot.objects.polars_url(
            f"datasets/{snapshot.dataset}/versions/{snapshot.version}"
        ),
        "dagster/row_count": snapshot.manifest.rows,
        "version": snapshot.version,
    }
    if counts.quarantined:
        reasons = published.reasons().select("reason_code", "rows", "reason", "example")
        facts["quarantined_because"] = dg.MetadataValue.md(markdown_table(reasons, chars=REASON_CHARS))
    if step == TENANTS and published.changed and before is not None:
        found = directory_differences(_tenants(before), _tenants(snapshot))
        facts["opened_closed_moved_renamed"] = dg.MetadataValue.md(
            markdown_table(found.head(DIFFERENCES_SHOWN))
        )
    for outcome in published.checks:
        if outcome.name == "all_mapped" and outcome.sample is not None:
            facts["unmapped"] = dg.MetadataValue.md(markdown_table(outcome.sample.head(PREVIEW_ROWS)))
    return facts


def _tenants(snapshot: Snapshot) -> pl.DataFrame:
    return snapshot.scan([NEWEST]).collect()
