"""Which columns of the results come from which columns upstream."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from tnt_platform.transit.spec import ENRICHED, SHIPMENTS, TransitSpec

COMPUTED_FROM: Mapping[str, tuple[str, ...]] = {
    "timestamp": ("asked_at",),
    "lag_days": ("expected_transit_days", "actual_transit_days", "expected_date", "actual_date"),
    "status": ("expected_transit_days", "actual_transit_days", "expected_date", "actual_date"),
    "success": ("expected_transit_days", "actual_transit_days", "expected_date", "actual_date"),
}


def results_lineage(spec: TransitSpec, columns: Mapping[str, object]) -> dg.TableColumnLineage:
    """Column lineage of `<dataset>/results`."""
    upstream = dg.AssetKey([spec.name, ENRICHED if spec.rate_api else SHIPMENTS])
    present = set(columns)

    def sources(name: str) -> list[str]:
        if name == "test_id":
            return list(spec.identity)
        found = COMPUTED_FROM.get(name, (name,))
        return [c for c in found if c in present or c == "asked_at"]

    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(asset_key=upstream, column_name=column) for column in sources(name)]
            for name in columns
        }
    )
