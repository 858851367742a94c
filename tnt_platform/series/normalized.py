"""`<dataset>/series`: read the newest capture into observations; cells that can't be read go to quarantine."""

from __future__ import annotations

from dataclasses import replace
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
    recorded_warnings,
    standing_warnings,
    unique_keys,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.series.capture import local_path
from tnt_platform.series.reading import NormalizedCapture, read_capture
from tnt_platform.series.spec import CAPTURE, NEWEST, OBSERVATION_KEY, SERIES, SeriesSpec
from tnt_platform.series.transforms.checks import gaps
from tnt_platform.series.transforms.history import merge_observations
from tnt_platform.series.unnamed import about_columns, check_named, columns_with_values

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
    spec: SeriesSpec, workspace: Workspace, run_id: str, *, overrides: Overrides = NO_OVERRIDES
) -> Published:
    """Read and publish the newest capture, unless this recipe has read it before.

    Raises:
        NotFound: nothing was captured yet.
        InvalidInput: the capture is not what the YAML describes; the published series stay.
        CheckFailed: too many of its cells can't be read.
    """
    capture = newest_capture(workspace.store.current(spec.dataset(CAPTURE)))
    if capture is None:
        raise NotFound(f"{spec.name}: nothing was captured yet; materialize {spec.name}/{CAPTURE} first")
    digest = f"{capture['sha256']}@{spec.recipe}"
    base = workspace.store.current(spec.dataset(SERIES))
    published = base.partition(NEWEST) if base else None
    if base and published and published["inputs_digest"] == digest and _is_made_from(base, capture):
        return replace(Published.unchanged(base, NEWEST), checks=standing_warnings(base))
    body = workspace.lake.get(str(capture["object_key"]))
    read = read_capture(spec, body, capture["captured_at"])
    columns = columns_with_values(spec, body)
    change = _change(base, capture, read, digest)
    checks: list[Check | CheckOutcome] = [
        unique_keys(OBSERVATION_KEY, NEWEST),
        _rejected_share(spec, capture, change, overrides),
        _check_series_have_observations(read),
        _check_gaps(spec, read),
        check_named(spec, columns, base),
    ]
    return publish_checked(
        workspace,
        spec.dataset(SERIES),
        change,
        base=base,
        key=OBSERVATION_KEY,
        checks=checks,
        run_id=run_id,
        about={**about_columns(columns), **overrides.about, **recorded_warnings(checks)},
    ).with_facts(_facts(read))


def rejected_cells(series: Snapshot) -> pl.DataFrame:
    """Return the quarantine of the newest capture (REJECTED_CELLS); whole rejected rows belong to no series."""
    schema = pl.DataFrame(schema=REJECTED_CELLS)
    found = pl.concat([schema, series.quarantine([NEWEST])], how="diagonal_relaxed")
    return found.select(list(REJECTED_CELLS))


def _is_made_from(base: Snapshot, capture: dict[str, Any]) -> bool:
    # The same bytes captured again later are another capture: the history has to know that they are newer.
    return bool(base.inputs(NEWEST)["last_modified"].to_list() == [capture["captured_at"]])


def _change(
    base: Snapshot | None, capture: dict[str, Any], read: NormalizedCapture, digest: str
) -> PartitionChange:
    fresh = read.normalized.observations.with_columns(
        collection_date=pl.lit(capture["captured_at"]).cast(pl.Date),
        capture=pl.lit(str(capture["sha256"])[:16]),
    )
    return PartitionChange(
        partition=NEWEST,
        data=_with_first_captures(base, fresh),
        inputs=_ledger(capture, read.counts),
        quarantine=_quarantine(read, str(capture["object_key"])),
        counts=read.counts,
        inputs_digest=digest,
    )


def _with_first_captures(base: Snapshot | None, fresh: pl.DataFrame) -> pl.DataFrame:
    """Keep the published row of each observation whose value is the same: it names the capture that brought it.

    So a file that differs in its bytes alone updates nothing.
    """
    before = fresh.clear()
    if base is not None and base.partition(NEWEST):
        before = base.intact([NEWEST]).scan([NEWEST]).collect()
    if before.schema != fresh.schema:
        return fresh
    keys = list(OBSERVATION_KEY)
    merged = merge_observations(before, fresh)
    return fresh.select(keys).join(merged, on=keys, how="left", maintain_order="left").select(fresh.columns)


def _rejected_share(
    spec: SeriesSpec, capture: dict[str, Any], change: PartitionChange, overrides: Overrides
) -> CheckOutcome:
    """Check the share of rejected cells among those that have a value."""
    assert isinstance(change.quarantine, pl.DataFrame)
    rails = GuardRails.of(spec, overrides, file=local_path(capture["url"]), rows="cells")
    return rails.rejected(change.counts.rows_in - change.counts.filtered, change.quarantine)


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
