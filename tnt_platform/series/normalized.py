"""`<dataset>/series`: what the newest capture says, as observations; what it says badly is in quarantine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from tnt_platform.errors import NotFound
from tnt_platform.lake.publishing import (
    CheckOutcome,
    Place,
    Published,
    as_ledger,
    publish_checked,
    unique_keys,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.readers.compression import unpack_member
from tnt_platform.series.capture import newest_capture
from tnt_platform.series.readers.cells import SeriesCells
from tnt_platform.series.readers.reader import READERS
from tnt_platform.series.spec import CAPTURE, NEWEST, OBSERVATION_KEY, SERIES, SeriesSpec
from tnt_platform.series.transforms.checks import gaps
from tnt_platform.series.transforms.observations import Normalized, observations_of

# What quarantine holds of a refused cell; period is null where the date can't be read.
REFUSED_CELLS = {
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


@dataclass(frozen=True)
class Read:
    """One capture, read: what it holds of every series."""

    cells: SeriesCells
    normalized: Normalized

    @property
    def counts(self) -> RowCounts:
        """Cells in = observations + refused + repeated + not available."""
        normal = self.normalized
        refused = normal.refused.height + self.cells.refused.height
        return RowCounts(
            rows_in=self.cells.cells.height + self.cells.refused.height,
            published=normal.observations.height,
            quarantined=refused,
            deduplicated=normal.deduplicated,
            filtered=normal.filtered,
        )


def read_capture(spec: SeriesSpec, body: bytes) -> Read:
    """Pure: the bytes of a capture -> observations.

    Raises:
        InvalidInput: the file as a whole is not what the YAML describes.
    """
    plain = unpack_member(body, spec.source.member) if spec.source.member else body
    found = READERS[spec.reader](plain, spec.layout)
    codes = found.codes.with_columns(pl.col("frequency").fill_null(spec.frequency))
    return Read(replace(found, codes=codes), observations_of(found.cells, codes, spec))


def publish_series(spec: SeriesSpec, place: Place, run_id: str) -> Published:
    """Read the newest capture, unless this recipe has read it before.

    Raises:
        NotFound: nothing was captured yet.
        InvalidInput: the capture is not what the YAML describes; what was published before stays.
    """
    row = newest_capture(place.store.current(spec.dataset(CAPTURE)))
    if row is None:
        raise NotFound(f"{spec.name}: nothing was captured yet; materialize {spec.name}/{CAPTURE} first")
    digest = f"{row['sha256']}@{spec.recipe}"
    base = place.store.current(spec.dataset(SERIES))
    held = base.partition(NEWEST) if base else None
    if base is not None and held is not None and held["inputs_digest"] == digest and _is_newest(base, row):
        counts = RowCounts(
            **{
                name: held[name]
                for name in ("rows_in", "published", "quarantined", "deduplicated", "filtered")
            }
        )
        return Published(base.dataset, NEWEST, base, changed=False, counts=counts)
    read = read_capture(spec, place.lake.get(str(row["object_key"])))
    return _publish(spec, place, base, row, read, digest, run_id)


def refused_cells(series: Snapshot) -> pl.DataFrame:
    """The quarantine of the newest reading (REFUSED_CELLS); rows that were refused whole belong to no series."""
    refused = pl.concat(
        [pl.DataFrame(schema=REFUSED_CELLS), series.quarantine([NEWEST])], how="diagonal_relaxed"
    )
    return refused.select(list(REFUSED_CELLS))


def _is_newest(base: Snapshot, row: dict[str, Any]) -> bool:
    """Whether the very capture was read: the same bytes captured again later are news to the history."""
    return bool(base.inputs(NEWEST)["last_modified"].to_list() == [row["captured_at"]])


def _publish(
    spec: SeriesSpec,
    place: Place,
    base: Snapshot | None,
    row: dict[str, Any],
    read: Read,
    digest: str,
    run_id: str,
) -> Published:
    published = publish_checked(
        place,
        base=base,
        dataset=spec.dataset(SERIES),
        change=_change(row, read, digest),
        key=OBSERVATION_KEY,
        checks=[
            unique_keys(OBSERVATION_KEY, NEWEST),
            _every_series_has_observations(read),
            _no_gaps(spec, read),
        ],
        run_id=run_id,
    )
    return published.with_facts(_facts(read))


def _change(row: dict[str, Any], read: Read, digest: str) -> PartitionChange:
    captured = {
        "collection_date": pl.lit(row["captured_at"]).cast(pl.Date),
        "capture": pl.lit(str(row["sha256"])[:16]),
    }
    observations = read.normalized.observations.with_columns(**captured)
    counts = read.counts
    return PartitionChange(
        partition=NEWEST,
        data=observations,
        inputs=_ledger(row, counts),
        quarantine=_quarantine(read, str(row["object_key"])),
        counts=counts,
        inputs_digest=digest,
    )


def _ledger(row: dict[str, Any], counts: RowCounts) -> pl.DataFrame:
    entry = {
        "key": row["object_key"],
        "etag": row["sha256"],
        "size_bytes": row["size_bytes"],
        "last_modified": row["captured_at"],
        "sha256": row["sha256"],
        "status": "accepted",
        "rows_in": counts.rows_in,
        "rows_out": counts.published,
        "rows_quarantined": counts.quarantined,
        "url": row["url"],
    }
    return as_ledger(pl.DataFrame([entry], schema_overrides={"last_modified": pl.Datetime("us", "UTC")}))


def _quarantine(read: Read, object_key: str) -> pl.DataFrame:
    refused = (read.normalized.refused, read.cells.refused)
    parts = [rows.with_columns(file_key=pl.lit(object_key)) for rows in refused if not rows.is_empty()]
    rows = pl.concat([pl.DataFrame(schema=REFUSED_CELLS), *parts], how="diagonal_relaxed").select(
        list(REFUSED_CELLS)
    )
    return rows.with_columns(first_seen_at=pl.lit(None, pl.Datetime("us", "UTC"))).sort("line_no", "place")


def _every_series_has_observations(read: Read) -> CheckOutcome:
    """A series that the YAML names and the file lacks is an error of one of the two."""
    codes = read.cells.codes
    found = read.normalized.observations["internal_series_code"].unique()
    empty = codes.filter(~pl.col("series_code").is_in(found.implode()))
    said = (
        f"{codes.height} series have observations"
        if empty.is_empty()
        else f"{empty.height} of {codes.height} series have no observation: "
        f"{', '.join(empty['series_code'].head(5))}; check their place in the YAML"
    )
    # A table with a series a row may well have rows without any value, as the World Bank's have.
    return CheckOutcome(
        "series_have_observations", empty.is_empty(), said, empty.head(_ROWS_SHOWN), blocking=False
    )


def _no_gaps(spec: SeriesSpec, read: Read) -> CheckOutcome:
    """Periods missing inside a series, against the calendar of its frequency."""
    found = gaps(read.normalized.observations)
    if spec.max_gap_periods is not None:
        found = found.filter(pl.col("periods") > spec.max_gap_periods)
    said = (
        "no period is missing"
        if found.is_empty()
        else f"{found['periods'].sum()} periods are missing in {found.height} gaps of "
        f"{found['internal_series_code'].n_unique()} series"
    )
    return CheckOutcome("no_gaps", found.is_empty(), said, found.head(_ROWS_SHOWN), blocking=False)


def _facts(read: Read) -> dict[str, object]:
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
