"""The answers of the rate API, published as a dataset of their own while they arrive."""

from __future__ import annotations

from types import TracebackType

import polars as pl

from tnt_platform.errors import PublishConflict
from tnt_platform.lake.publishing import CONFLICT_RETRIES, Workspace
from tnt_platform.lake.versions import PartitionChange, RowCounts, Snapshot
from tnt_platform.services.http import HttpResponse
from tnt_platform.transit.transforms.answers import AnswerExpression, read_answer

# A killed run has to repeat at most this many requests.
CHECKPOINT_ANSWERS = 2_000
# With more parts than this, reading them all costs more than rewriting them as one.
MAX_PARTS = 16

# The API's verdict on the shipment itself: a repeated request gets the same, so only `tnt replay` sends one.
FINAL_REASONS = ("no_ground_rate", "no_rates_map")

ANSWER_SCHEMA: dict[str, pl.DataType] = {
    "request_id": pl.String(),
    "response_payload": pl.String(),
    "actual_transit_days": pl.Int32(),
    "reason_code": pl.String(),
    "reason": pl.String(),
    "time_taken_ms": pl.Float64(),
    "attempts": pl.Int32(),
    "asked_at": pl.Datetime("us", "UTC"),
}
KEY = ("request_id",)


def answer_row(answer: HttpResponse, expression: AnswerExpression) -> dict[str, object]:
    """Turn one answer into a row of ANSWER_SCHEMA: its days, or the reason why it has none."""
    reason_code, reason, days = answer.reason_code, answer.reason, None
    if reason_code is None:
        reading = read_answer(answer.body, expression)
        reason_code, reason, days = reading.reason_code, reading.reason, reading.days
    return {
        "request_id": answer.request_id,
        "response_payload": (answer.body or b"").decode("utf-8", "replace"),
        "actual_transit_days": days,
        "reason_code": reason_code,
        "reason": reason,
        "time_taken_ms": round(answer.latency_ms, 3),
        "attempts": answer.attempts,
        "asked_at": answer.asked_at,
    }


def read_again(answers: pl.DataFrame, expression: AnswerExpression) -> pl.DataFrame:
    """Read answers of earlier runs with `expression`, which may have been corrected since they arrived."""
    payloads = answers["response_payload"]
    readings = {text: read_answer(text.encode(), expression) for text in payloads.unique()}
    found = [readings[text] for text in payloads]
    schema = {name: ANSWER_SCHEMA[name] for name in ("actual_transit_days", "reason_code", "reason")}
    rows = [(reading.days, reading.reason_code, reading.reason) for reading in found]
    return answers.with_columns(pl.DataFrame(rows, schema=schema, orient="row").get_columns())


class AnswerJournal:
    """Keep one date's answers; leaving the `with` block, even by an error, publishes those still buffered."""

    def __init__(self, workspace: Workspace, dataset: str, partition: str, run_id: str) -> None:
        self._workspace = workspace
        self._dataset = dataset
        self._partition = partition
        self._run_id = run_id
        self._buffer: list[dict[str, object]] = []
        self._failed: dict[str, tuple[str, str]] = {}

    def __enter__(self) -> AnswerJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()

    def read(self) -> pl.DataFrame:
        """Return every answer of the date (ANSWER_SCHEMA); key: request_id."""
        snapshot = self._workspace.store.current(self._dataset)
        if snapshot is None:
            return pl.DataFrame(schema=ANSWER_SCHEMA)
        return snapshot.intact([self._partition]).scan([self._partition]).collect()

    def failed_before(self) -> set[str]:
        """Return the ids of the requests that earlier runs sent and that have no answer yet."""
        snapshot = self._workspace.store.current(self._dataset)
        return set(snapshot.quarantine([self._partition])["raw"]) if snapshot else set()

    def fail(self, request_id: str, reason_code: str, reason: str) -> None:
        """Remember a request that was sent and not answered, so that the next run sends it after the others."""
        self._failed[request_id] = (reason_code, reason)

    def add(self, row: dict[str, object]) -> None:
        """Keep one answer; CHECKPOINT_ANSWERS of them at a time are published."""
        self._buffer.append(row)
        if len(self._buffer) >= CHECKPOINT_ANSWERS:
            self._flush()

    def _flush(self) -> None:
        if not self._buffer and not self._failed:
            return
        fresh = (
            pl.DataFrame(self._buffer, schema=ANSWER_SCHEMA)
            .unique("request_id", keep="last")
            .sort("request_id")
        )
        for attempt in range(CONFLICT_RETRIES):
            try:
                self._publish(fresh)
                break
            except PublishConflict:
                # Another run of the date published answers in the meantime: add ours to them.
                if attempt == CONFLICT_RETRIES - 1:
                    raise
        self._buffer.clear()
        self._failed.clear()

    def _publish(self, fresh: pl.DataFrame) -> None:
        base = self._workspace.store.current(self._dataset)
        before = base.scan([self._partition]).collect() if base else fresh.clear()
        others = before.join(fresh, on="request_id", how="anti")
        live = base.files.filter(pl.col("partition") == self._partition)["path"].to_list() if base else []
        append = others.height == before.height and len(live) < MAX_PARTS
        if base and not append:
            base.intact([self._partition])
        rows = others.height + fresh.height
        unanswered = self._unanswered(base, fresh)
        self._workspace.store.publish(
            self._dataset,
            base=base,
            changes=[
                PartitionChange(
                    partition=self._partition,
                    data=fresh if append else pl.concat([others, fresh]).sort("request_id"),
                    keep=live if append else (),
                    quarantine=unanswered,
                    counts=RowCounts(
                        rows_in=rows + unanswered.height, published=rows, quarantined=unanswered.height
                    ),
                )
            ],
            key=KEY,
            run_id=self._run_id,
        )

    def _unanswered(self, base: Snapshot | None, fresh: pl.DataFrame) -> pl.DataFrame:
        """Return the quarantine: the requests that were sent and have no answer, those of earlier runs included."""
        failed = pl.DataFrame(
            [("", 0, *failure) for failure in ((key, *why) for key, why in self._failed.items())],
            schema={
                "file_key": pl.String,
                "line_no": pl.Int64,
                "raw": pl.String,
                "reason_code": pl.String,
                "reason": pl.String,
            },
            orient="row",
        ).with_columns(first_seen_at=pl.lit(None, pl.Datetime("us", "UTC")))
        if base is not None:
            earlier = base.quarantine([self._partition]).select(failed.columns)
            failed = pl.concat([earlier.join(failed, on="raw", how="anti"), failed])
        return failed.join(fresh, left_on="raw", right_on="request_id", how="anti").sort("raw")
