"""Last links: the comparison of expected and actual, and what it adds up to."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tnt_platform.lake.publishing import (
    Check,
    CheckOutcome,
    Place,
    Published,
    publish_checked,
    unique_keys,
    values_in_range,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.upstream import Upstream, published_unchanged
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.settings import Settings
from tnt_platform.transit.sink import upsert_results
from tnt_platform.transit.spec import (
    ENRICHED,
    MAX_TRANSIT_DAYS,
    RESULTS,
    SHIPMENTS,
    SUMMARY,
    TransitSpec,
)
from tnt_platform.transit.transforms.transit import (
    QUARANTINE_SCHEMA,
    compare_dates,
    compare_days,
    distinct_cases,
    identify,
    summarise,
)

RESULTS_KEY = ("test_id",)
SUMMARY_KEY = ("group_kind", "group_value")
# Deliveries of years ago are still deliveries; beyond ten years a date is a typing error.
MAX_LAG_DAYS = 3_660


def publish_results(spec: TransitSpec, date: str, place: Place, settings: Settings, run_id: str) -> Published:
    """Compare expected with actual for each case of the date and publish one row a case.

    Columns: test_id, timestamp (when the API answered; absent without one), the columns of the
    upstream, lag_days, status, success. Key: test_id, which holds no clock and no file, so that a
    replay overwrites and never duplicates.
    """
    upstream = Upstream.read(place.store, spec.dataset(ENRICHED if spec.rate_api else SHIPMENTS), date)
    base = place.store.current(spec.dataset(RESULTS))
    recipe = f"{spec.passes_when} {spec.identity}"
    if unchanged := published_unchanged(base, upstream, date, recipe):
        return unchanged.with_facts(upsert_results(spec, unchanged, settings))
    cases = upstream.frame
    frame, refused, deduplicated = _compared(spec, cases, upstream)
    change = PartitionChange(
        partition=date,
        data=frame,
        inputs=upstream.ledger(recipe),
        quarantine=refused,
        counts=RowCounts(
            rows_in=cases.height,
            published=frame.height,
            quarantined=refused.height,
            deduplicated=deduplicated,
        ),
        inputs_digest=upstream.inputs_digest,
    )
    lowest, highest = (
        (-MAX_TRANSIT_DAYS, MAX_TRANSIT_DAYS) if spec.rate_api else (-MAX_LAG_DAYS, MAX_LAG_DAYS)
    )
    checks = [unique_keys(RESULTS_KEY, date), values_in_range(date, "lag_days", lowest, highest)]
    published = publish_checked(
        place,
        base=base,
        dataset=spec.dataset(RESULTS),
        change=change,
        key=RESULTS_KEY,
        checks=checks,
        run_id=run_id,
    )
    # After the commit: a table that fails is brought up to date by running the date again.
    return published.with_facts(upsert_results(spec, published, settings))


def _compared(
    spec: TransitSpec, cases: pl.DataFrame, upstream: Upstream
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    if spec.rate_api:
        compared = compare_days(cases, passes_when=spec.passes_when).rename({"asked_at": "timestamp"})
        ids = identify(compared, [*spec.identity, "ship_profile"])
        frame = compared.drop("ship_profile").insert_column(0, ids.alias("test_id"))
        return frame, pl.DataFrame(schema=QUARANTINE_SCHEMA), 0
    distinct = distinct_cases(cases, upstream.file_times, spec.identity)
    compared = compare_dates(distinct.kept, passes_when=spec.passes_when)
    ids = identify(compared, spec.identity)
    return compared.insert_column(0, ids.alias("test_id")), distinct.refused, distinct.deduplicated


def publish_summary(spec: TransitSpec, date: str, place: Place, run_id: str) -> Published:
    """Pass rate, counts and latency percentiles by each column of `summary_by`; see `transforms.transit.summarise`."""
    upstream = Upstream.read(place.store, spec.dataset(RESULTS), date)
    base = place.store.current(spec.dataset(SUMMARY))
    recipe = " ".join(spec.summary_by)
    if unchanged := published_unchanged(base, upstream, date, recipe):
        return unchanged
    results = upstream.frame
    frame = summarise(results, spec.summary_by)
    change = PartitionChange(
        partition=date,
        data=frame,
        inputs=upstream.ledger(recipe),
        quarantine=pl.DataFrame(),
        counts=RowCounts(rows_in=frame.height, published=frame.height),
        inputs_digest=upstream.inputs_digest,
    )
    return publish_checked(
        place,
        base=base,
        dataset=spec.dataset(SUMMARY),
        change=change,
        key=SUMMARY_KEY,
        checks=[unique_keys(SUMMARY_KEY, date), _adds_up(date, spec.summary_by, results.height)],
        run_id=run_id,
    )


def _adds_up(date: str, kinds: Sequence[str], results: int) -> Check:
    """Each grouping counts every result exactly once."""

    def check(draft: Snapshot) -> CheckOutcome:
        totals = draft.scan([date]).group_by("group_kind").agg(pl.col("cases").sum()).collect()
        counted = dict(totals.iter_rows())
        wrong = [
            f"{kind}: {counted.get(kind, 0)}" for kind in ("all", *kinds) if counted.get(kind, 0) != results
        ]
        said = f"every grouping adds up to {results} results"
        return CheckOutcome(
            "summary_adds_up", not wrong, said if not wrong else f"not {results}: {', '.join(wrong)}"
        )

    return check
