"""The metadata of a materialization: counts, changes, cost, a preview, reasons for rejection, the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from tnt_platform.lake.publishing import CheckOutcome, Published
from tnt_platform.lake.snapshot import Snapshot

# A request or response body would fill the screen; the published file has all of it.
PREVIEW_CHARS = 60
REASON_CHARS = 160
# The reasons of rejected rows for programs: reason_code, rows, first (file:line); most frequent first.
REJECTED = "rejected"
REASONS_LISTED = 20
# First what a person looks for, last what a program looks for, everything else in between.
READ_FIRST = ("pass_rate", "plot", "rows_in", "rows_published", "rows_quarantined", "quarantined_because")
READ_LAST = (REJECTED, "version", "dagster/uri", "dagster/row_count", "inputs_digest", "reference_sha256")
# Columns of several kinds of dataset; each kind describes its own beside its assets.
SHARED_COLUMNS: Mapping[str, str] = {
    "file_key": "Key of the raw file that the row comes from.",
    "line_no": "Line in that file, counted from 1.",
    "etag": "The store's tag of the file's content.",
    "size_bytes": "Size of the file.",
    "last_modified": "When the file was written (UTC).",
    "captured_at": "When the file was captured (UTC).",
    "sha256": "Hash of the captured bytes.",
    "object_key": "Where the captured bytes are in the lake.",
}


def materialization(
    published: Published, step_key: dg.AssetKey, extra: Mapping[str, Any], columns: Mapping[str, str]
) -> dg.AssetMaterialization:
    """Make the event of one asset and date; `columns` as in `column_schema`."""
    metadata = {**describe(published, columns), **{k: v for k, v in extra.items() if v is not None}}
    return dg.AssetMaterialization(
        asset_key=step_key,
        partition=published.partition,
        metadata=in_reading_order(metadata),
        tags={"tnt/version": published.snapshot.version},
    )


def in_reading_order(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Sort metadata into the order in which a person looks for it."""
    return {name: metadata[name] for name in sorted(metadata, key=_rank)}


def _rank(name: str) -> int:
    """Rank an entry; entries of the same rank keep their order."""
    if name in READ_FIRST:
        return READ_FIRST.index(name) - len(READ_FIRST)
    return READ_LAST.index(name) + 1 if name in READ_LAST else 0


def describe(published: Published, columns: Mapping[str, str]) -> dict[str, Any]:
    """Describe a materialization of an asset partitioned by date."""
    row = published.snapshot.partition(published.partition) or {}
    metadata = _row_counts(published) | {"preview": dg.MetadataValue.md(markdown_table(published.preview()))}
    if published.changed:
        metadata |= {f"rows_{name}": row.get(name, 0) for name in ("added", "updated", "removed")}
    return {
        **metadata,
        **published.facts,
        **_version(published, columns),
        "size_bytes": row.get("size_bytes", 0),
        "dagster/row_count": published.counts.published,
        "inputs_digest": row.get("inputs_digest", ""),
    }


def describe_newest(published: Published, columns: Mapping[str, str]) -> dict[str, Any]:
    """Describe a materialization of an asset that has only a newest state."""
    manifest = published.snapshot.manifest
    return {
        **_row_counts(published),
        **published.facts,
        **_version(published, columns),
        "size_bytes": manifest.size_bytes,
        "dagster/row_count": manifest.rows,
    }


def _row_counts(published: Published) -> dict[str, Any]:
    """Return what became of the rows, and why some were rejected."""
    counts = published.counts
    metadata: dict[str, Any] = {
        "rows_in": counts.rows_in,
        "rows_published": counts.published,
        "rows_quarantined": counts.quarantined,
        "rows_deduplicated": counts.deduplicated,
        "rows_filtered": counts.filtered,
        "changed": published.changed,
    }
    if counts.quarantined:
        reasons = published.reasons()
        shown = reasons.select("reason_code", "rows", "reason", "example")
        metadata["quarantined_because"] = dg.MetadataValue.md(markdown_table(shown, chars=REASON_CHARS))
        counted = reasons.select("reason_code", "rows", "first").head(REASONS_LISTED)
        metadata[REJECTED] = dg.MetadataValue.json(counted.to_dicts())
    return metadata


def _version(published: Published, columns: Mapping[str, str]) -> dict[str, Any]:
    """Return which version this is, where it is stored, its columns, and how long it took."""
    snapshot = published.snapshot
    return {
        "duration_s": round(published.duration_s, 3),
        "dagster/column_schema": column_schema(snapshot, columns),
        "version": snapshot.version,
        "dagster/uri": snapshot.objects.polars_url(
            f"datasets/{snapshot.dataset}/versions/{snapshot.version}"
        ),
    }


def column_schema(snapshot: Snapshot, columns: Mapping[str, str]) -> dg.TableSchema:
    """Describe the published columns.

    `columns` maps a column, or `<step>.<column>` where its meaning depends on the step, to a sentence. A column that
    the dataset's YAML names has no description.
    """
    step, key = snapshot.dataset.rsplit("/", 1)[-1], set(snapshot.manifest.key)
    known = {**SHARED_COLUMNS, **columns}

    def description(name: str) -> str | None:
        if name.endswith("_note"):
            return f"Why {name.removesuffix('_note')} has no value: the string in its place, as a code."
        return known.get(f"{step}.{name}", known.get(name))

    return dg.TableSchema(
        [
            dg.TableColumn(
                name,
                str(dtype),
                description=description(name),
                constraints=dg.TableColumnConstraints(nullable=name not in key),
            )
            for name, dtype in snapshot.schema.items()
        ]
    )


def markdown_table(frame: pl.DataFrame, *, chars: int = PREVIEW_CHARS) -> str:
    """Write a small frame as a Markdown table; long cells are cut, and markup in them is escaped."""
    if frame.is_empty():
        return "_no rows_"
    cells = [[_cell(value, chars) for value in row] for row in frame.iter_rows()]
    lines = ["| " + " | ".join(row) + " |" for row in [frame.columns, ["---"] * frame.width, *cells]]
    return "\n".join(lines)


def _cell(value: object, chars: int) -> str:
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    short = text if len(text) <= chars else text[: chars - 1] + "…"
    return (
        "".join(c if c.isprintable() else "␀" for c in short)
        .replace("\\", "\\\\")
        .replace("|", "\\|")
        .replace("<", "&lt;")
    )


def check_results(
    key: dg.AssetKey,
    name: str,
    outcomes: Mapping[str, CheckOutcome | None],
    *,
    warns: bool = False,
    unchecked: Sequence[str] = (),
) -> dg.AssetCheckResult:
    """Combine one check's outcomes by date: it passed only if it passed on each; one that `warns` blocks nothing.

    None stands for an unchanged date: its rows were checked when they were published. `unchecked` are the dates of
    the run that failed before this check could look at them.
    """
    failed = {date: outcome for date, outcome in outcomes.items() if outcome and not outcome.passed}
    samples = [o.sample for o in failed.values() if o.sample is not None and not o.sample.is_empty()]
    descriptions = [o.description if o else "unchanged since it was checked" for o in outcomes.values()]
    table = pl.DataFrame({"date": list(outcomes), "found": descriptions})
    passed = descriptions[0] if len(descriptions) == 1 else f"passed on {len(descriptions)} dates"
    if unchecked:
        passed += f"; not checked, since the run failed before: {', '.join(unchecked)}"
    metadata: dict[str, Any] = {"dates": dg.MetadataValue.md(markdown_table(table.head(50)))}
    if samples:
        metadata["sample"] = dg.MetadataValue.md(markdown_table(samples[0]))
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        description="; ".join(f"{date}: {o.description}" for date, o in failed.items()) or passed,
        metadata=metadata,
    )
