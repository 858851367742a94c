"""What the columns that the platform adds mean, for the column table of the web UI."""

from __future__ import annotations

from collections.abc import Mapping

COLUMNS: Mapping[str, str] = {
    "file_key": "Key of the raw file the row comes from.",
    "line_no": "Line in that file, counted from 1.",
    "etag": "The store's tag of the file's content.",
    "size_bytes": "Size of the file.",
    "last_modified": "When the file was written (UTC).",
    "problem": "Why the file can't be read as one of this dataset; empty if it can.",
    "ship_profile": "Fingerprint of ship date and shipper's package: part of what makes a case.",
    "request_id": "Fingerprint of the request; identical requests are asked once.",
    "request_payload": "Body sent to the API.",
    "response_payload": "Body the API answered.",
    "actual_transit_days": "Transit days the API returned.",
    "time_taken_ms": "Time from the question to the answer, in milliseconds.",
    "attempts": "How often the API had to be asked until it answered.",
    "asked_at": "When the API was asked (UTC).",
    "test_id": "Id of the case, made of its identity alone: the same in every replay.",
    "timestamp": "When the API was asked (UTC).",
    "expected_transit_days": "Transit days the file promises.",
    "expected_date": "Date the file promises.",
    "actual_date": "Date the file records.",
    "lag_days": "Actual minus expected, in days: negative is early, positive late.",
    "success": "Whether the case passes the dataset's rule.",
    "group_kind": "What the row sums up: all cases, or those of one value of a column.",
    "group_value": "That value.",
    "cases": "Cases in the group.",
    "passed": "Cases that pass the dataset's rule.",
    "failed": "Cases that don't.",
    "early": "Cases with a negative lag.",
    "on_time": "Cases without lag.",
    "late": "Cases with a positive lag.",
    "pass_rate": "Passed cases as a share of all, 0 to 1.",
    "mean_lag_days": "Mean of the lag, in days.",
    "latency_p50_ms": "Median time of an answer, in milliseconds.",
    "latency_p95_ms": "95th percentile of the time of an answer, in milliseconds.",
    "internal_series_code": "Code of the series, as the YAML names it.",
    "period": "First day of the period that the value belongs to: day, week (Monday), month, quarter or year.",
    "obs_time": "Start of the period at midnight in the dataset's time zone.",
    "value": "The observation.",
    "unit": "Unit of the value.",
    "frequency": "D, W, M, Q or A: daily, weekly, monthly, quarterly, annual.",
    "printed_date": "The date as the source prints it.",
    "place": "Where in the source the value stands: cell, or line and column.",
    "collection_date": "When this value was first collected (UTC).",
    "capture": "Hash of the captured file that brought this value; see <dataset>/capture.",
    "captured_at": "When the file was captured (UTC).",
    "sha256": "Hash of the captured bytes.",
    "object_key": "Where the captured bytes lie in the lake.",
    "id": "The source and the item's own id: the same for ever.",
    "source": "The dataset the record belongs to.",
    "item_id": "The id that the source gives the item.",
    "fingerprint": "Hash of the record's fields: another one means another content.",
    "first_seen_at": "When the record was captured first (UTC).",
    "processed_at": "When this content of the record was curated (UTC).",
    "raw_s3_key": "The capture that brought this content, below the raw files.",
    "item_index": "Place of the item in that capture, counted from 0.",
    "content_digest": "Hash of all records of the capture; empty for one that was refused.",
    "item_ids": "The items of the capture; empty where they are those captured last.",
    "bad_records": "Records that can't be read; they are in quarantine with the reason.",
    "generated_at": "When this content of the report was made (UTC).",
    "report": "The report as JSON, as it lies at object_key.",
    "latency_p99_ms": "99th percentile of the time of an answer, in milliseconds.",
}
OF_STEP: Mapping[tuple[str, str], str] = {
    ("shipper_files", "status"): "present, or kept: gone from the bucket, its rows stay.",
    ("results", "status"): "early, on_time or late.",
}


def described(dataset: str, column: str) -> str | None:
    """One sentence about a column of `<dataset>/<step>`; None for a column that the dataset's YAML names."""
    step = dataset.rsplit("/", 1)[-1]
    if column.endswith("_note"):
        return (
            f"Why {column.removesuffix('_note')} holds no value: the word that stood in its place, as a code."
        )
    return OF_STEP.get((step, column), COLUMNS.get(column))
