"""What a materialization shows in the web UI: counts, changes, cost, a preview, the reasons of refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from tnt_platform.lake.publishing import CheckOutcome, Published
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.orchestration.column_descriptions import described

# A request or answer body fills the screen; the file has it whole.
PREVIEW_CHARS = 60
REASON_CHARS = 160
# What a person looks for comes first, what a program looks for comes last; the rest stands between.
READ_FIRST = ("pass_rate", "plot", "rows_in", "rows_published", "rows_quarantined", "quarantined_because")
READ_LAST = ("version", "dagster/uri", "dagster/row_count", "inputs_digest", "reference_sha256")


def materialization(
    published: Published, step_key: dg.AssetKey, extra: Mapping[str, Any]
) -> dg.AssetMaterialization:
    """The event of one asset and date."""
    facts = {**describe(published), **{k: v for k, v in extra.items() if v is not None}}
    return dg.AssetMaterialization(
        asset_key=step_key,
        partition=published.partition,
        metadata=in_reading_order(facts),
        tags={"tnt/version": published.snapshot.version},
    )


def in_reading_order(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts in the order in which a person looks for them."""
    return {name: facts[name] for name in sorted(facts, key=_place)}


def _place(name: str) -> int:
    """Where a fact stands on the page; facts of the same place keep their order."""
    if name in READ_FIRST:
        return READ_FIRST.index(name) - len(READ_FIRST)
    return READ_LAST.index(name) + 1 if name in READ_LAST else 0


def describe(published: Published) -> dict[str, Any]:
    """Metadata of an asset with a partition a date."""
    row = published.snapshot.partition(published.partition) or {}
    facts = _counted(published) | {"preview": dg.MetadataValue.md(markdown_table(published.preview()))}
    if published.changed:
        facts |= {f"rows_{name}": row.get(name, 0) for name in ("added", "updated", "removed")}
    return {
        **facts,
        **published.facts,
        **_lies_at(published),
        "size_bytes": row.get("size_bytes", 0),
        "dagster/row_count": published.counts.published,
        "inputs_digest": row.get("inputs_digest", ""),
    }


def describe_newest(published: Published) -> dict[str, Any]:
    """Metadata of an asset that has only a newest state."""
    manifest = published.snapshot.manifest
    return {
        **_counted(published),
        **published.facts,
        **_lies_at(published),
        "size_bytes": manifest.size_bytes,
        "dagster/row_count": manifest.rows,
    }


def _counted(published: Published) -> dict[str, Any]:
    """What became of the rows, and why some were refused."""
    counts = published.counts
    facts: dict[str, Any] = {
        "rows_in": counts.rows_in,
        "rows_published": counts.published,
        "rows_quarantined": counts.quarantined,
        "rows_deduplicated": counts.deduplicated,
        "rows_filtered": counts.filtered,
        "changed": published.changed,
    }
    if counts.quarantined:
        reasons = published.reasons().select("reason_code", "rows", "reason", "example")
        facts["quarantined_because"] = dg.MetadataValue.md(markdown_table(reasons, chars=REASON_CHARS))
    return facts


def _lies_at(published: Published) -> dict[str, Any]:
    snapshot = published.snapshot
    return {
        "duration_s": round(published.duration_s, 3),
        "dagster/column_schema": column_schema(snapshot),
        "version": snapshot.version,
        "dagster/uri": snapshot.objects.polars_url(
            f"datasets/{snapshot.dataset}/versions/{snapshot.version}"
        ),
    }


def column_schema(snapshot: Snapshot) -> dg.TableSchema:
    """Columns and types as published, and what the platform's own columns mean."""
    key = set(snapshot.manifest.key)
    columns = [
        dg.TableColumn(
            name,
            str(dtype),
            description=described(snapshot.dataset, name),
            constraints=dg.TableColumnConstraints(nullable=name not in key),
        )
        for name, dtype in snapshot.schema.items()
    ]
    return dg.TableSchema(columns)


def markdown_table(frame: pl.DataFrame, *, chars: int = PREVIEW_CHARS) -> str:
    """A small frame as a Markdown table; long cells are cut, and what could break the table is escaped."""
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
    key: dg.AssetKey, name: str, outcomes: Mapping[str, CheckOutcome | None], *, warns: bool = False
) -> dg.AssetCheckResult:
    """One check over the dates of a run: passed only if it passed on each; one that `warns` blocks nothing.

    None stands for a date that was found unchanged: its rows were checked when they were published.
    """
    failed = {date: outcome for date, outcome in outcomes.items() if outcome and not outcome.passed}
    samples = [o.sample for o in failed.values() if o.sample is not None and not o.sample.is_empty()]
    said = {
        date: outcome.description if outcome else "unchanged since it was checked"
        for date, outcome in outcomes.items()
    }
    table = pl.DataFrame({"date": list(said), "found": list(said.values())})
    in_order = next(iter(said.values())) if len(said) == 1 else f"all {len(said)} dates are in order"
    metadata: dict[str, Any] = {"dates": dg.MetadataValue.md(markdown_table(table.head(50)))}
    if samples:
        metadata["sample"] = dg.MetadataValue.md(markdown_table(samples[0]))
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        description="; ".join(f"{date}: {o.description}" for date, o in failed.items()) or in_order,
        metadata=metadata,
    )
