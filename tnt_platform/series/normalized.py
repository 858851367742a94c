"""`<dataset>/series`: read the newest capture into observations; cells that can't be read go to quarantine."""

from __future__ import annotations

from typing import Any

import polars as pl

from tnt_platform.errors import NotFound
from tnt_platform.lake.captures import newest_capture
from tnt_platform.lake.guard_rails import NO_OVERRIDES, GuardRails, Overrides
from tnt_platform.lake.publishing import (
    Check,
    CheckOutcome,
    Published,
    Workspace,
    as_ledger,
    publish_checked,
    unique_keys,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.series.reading import NormalizedCapture, read_capture
from tnt_platform.series.spec import CAPTURE, NEWEST, OBSERVATION_KEY, SERIES, SeriesSpec
from tnt_platform.series.transforms.checks import gaps

# The columns of quarantine; `period` is null if the date can't be read.
REJECTED_CELLS = {
    "file_key": pl.String(),
    "line_no": pl.Int64(),
    "raw": pl.String(),
    "reason_code": pl.String(),
    "reason": pl.String(),
    "series_code": pl.String(),
    "place": pl.String(),
    "period": pl.Date(),
}
_ROWS_SHOWN = 20


def publish_series(
    spec: SeriesSpec, workspace: Workspace, run_id: str, overrides: Overrides = NO_OVERRIDES
) -> Published:
    """Read and publish the newest capture, unless this recipe has read it before.

    Raises:
        NotFound: nothing was captured yet.
        InvalidInput: the capture is not what the YAML describes; the published series stay.
    """
    capture = newest_capture(workspace.store.current(spec.dataset(CAPTURE)))
    if capture is None:
        raise NotFound(f"{spec.name}: nothing was captured yet; materialize {spec.name}/{CAPTURE} first")
    digest = f"{capture['sha256']}@{spec.recipe}"
    base = workspace.store.current(spec.dataset(SERIES))
    published = base.partition(NEWEST) if base else None
    if base and published and published["inputs_digest"] == digest and _is_made_from(base, capture):
        return Published.unchanged(base, NEWEST)
    read = read_capture(spec, workspace.lake.get(str(capture["object_key"])), capture["captured_at"])
    change = _change(capture, read, digest)
    assert isinstance(change.quarantine, pl.DataFrame)
    rows_read = read.counts.rows_in - read.counts.filtered
    checks: list[Check | CheckOutcome] = [
        unique_keys(OBSERVATION_KEY, NEWEST),
        GuardRails.of(spec, overrides).rejected(rows_read, change.quarantine),
        _check_series_have_observations(read),
        _check_gaps(spec, read),
    ]
    return publish_checked(
        workspace,
        spec.dataset(SERIES),
        change,
        base=base,
        key=OBSERVATION_KEY,
        checks=checks,
        run_id=run_id,
        about=overrides.about,
    ).with_facts(_facts(read))


def rejected_cells(series: Snapshot) -> pl.DataFrame:
    """Return the quarantine of the newest capture (REJECTED_CELLS); whole rejected rows belong to no series."""
    schema = pl.DataFrame(schema=REJECTED_CELLS)
    found = pl.concat([schema, series.quarantine([NEWEST])], how="diagonal_relaxed")
    return found.select(list(REJECTED_CELLS))


def _is_made_from(base: Snapshot, capture: dict[str, Any]) -> bool:
    # The same bytes captured again later are another capture: the history has to know that they are newer.
    return bool(base.inputs(NEWEST)["last_modified"].to_list() == [capture["captured_at"]])


def _change(capture: dict[str, Any], read: NormalizedCapture, digest: str) -> PartitionChange:
    observations = read.normalized.observations.with_columns(
        collection_date=pl.lit(capture["captured_at"]).cast(pl.Date),
        capture=pl.lit(str(capture["sha256"])[:16]),
    )
    return PartitionChange(
        partition=NEWEST,
        data=observations,
        inputs=_ledger(capture, read.counts),
        quarantine=_quarantine(read, str(capture["object_key"])),
        counts=read.counts,
        inputs_digest=digest,
    )


def _ledger(capture: dict[str, Any], counts: RowCounts) -> pl.DataFrame:
    entry = {
        "key": capture["object_key"],
        "etag": capture["sha256"],
        "size_bytes": capture["size_bytes"],
        "last_modified": capture["captured_at"],
        "sha256": capture["sha256"],
        "status": "accepted",
        "rows_in": counts.rows_in,
        "rows_out": counts.published,
        "rows_quarantined": counts.quarantined,
        "url": capture["url"],
    }
    return as_ledger(pl.DataFrame([entry], schema_overrides={"last_modified": pl.Datetime("us", "UTC")}))


def _quarantine(read: NormalizedCapture, object_key: str) -> pl.DataFrame:
    found = [rows for rows in (read.normalized.rejected, read.cells.rejected) if not rows.is_empty()]
    placed = [rows.with_columns(file_key=pl.lit(object_key)) for rows in found]
    rows = pl.concat([pl.DataFrame(schema=REJECTED_CELLS), *placed], how="diagonal_relaxed")
    return (
        rows.select(list(REJECTED_CELLS))
        .with_columns(first_seen_at=pl.lit(None, pl.Datetime("us", "UTC")))
        .sort("line_no", "place")
    )


def _check_series_have_observations(read: NormalizedCapture) -> CheckOutcome:
    codes = read.cells.codes
    found = read.normalized.observations["internal_series_code"].unique()
    empty = codes.filter(~pl.col("series_code").is_in(found.implode()))
    description = (
        f"{codes.height} series have observations"
        if empty.is_empty()
        else f"{empty.height} of {codes.height} series have no observation: "
        f"{', '.join(empty['series_code'].head(5))}; check their place in the YAML"
    )
    # Only a warning: a table with one series per row may well have rows without values, as the World Bank's does.
    return CheckOutcome(
        "series_have_observations", empty.is_empty(), description, empty.head(_ROWS_SHOWN), blocking=False
    )


def _check_gaps(spec: SeriesSpec, read: NormalizedCapture) -> CheckOutcome:
    found = gaps(read.normalized.observations)
    if spec.max_gap_periods is not None:
        found = found.filter(pl.col("periods") > spec.max_gap_periods)
    description = (
        "no period is missing"
        if found.is_empty()
        else f"{found['periods'].sum()} periods are missing in {found.height} gaps of "
        f"{found['internal_series_code'].n_unique()} series"
    )
    return CheckOutcome("no_gaps", found.is_empty(), description, found.head(_ROWS_SHOWN), blocking=False)


def _facts(read: NormalizedCapture) -> dict[str, object]:
    observations = read.normalized.observations
    facts: dict[str, object] = {
        "series": read.cells.codes.height,
        "not_available": read.normalized.filtered,
        "dst_gaps": read.normalized.dst_gaps,
        "dst_repeats": read.normalized.dst_repeats,
    }
    if observations.height:
        facts["first_period"] = str(observations["period"].min())
        facts["last_period"] = str(observations["period"].max())
    return facts
