"""Third step: ask the rate API about each case, once for identical requests, and publish what it answered.

Answers are published (`<dataset>/answers`) as they arrive, before the cases that use them: a run that is killed loses
next to none of them, and a date that is materialized again repeats no request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Literal

import polars as pl

from tnt_platform.lake.publishing import (
    Check,
    CheckOutcome,
    Published,
    Workspace,
    publish_checked,
    unique_keys,
    values_in_range,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.upstream import Upstream, published_unchanged
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.services.http import HttpClient, HttpRequest, HttpResponse
from tnt_platform.settings import Settings
from tnt_platform.transit.answers import (
    ANSWER_SCHEMA,
    FINAL_REASONS,
    AnswerJournal,
    answer_row,
    read_again,
)
from tnt_platform.transit.reference import Shippers, read_shippers
from tnt_platform.transit.spec import (
    ANSWERS,
    ENRICHED,
    MAX_TRANSIT_DAYS,
    SHIPMENTS,
    RateApi,
    TransitSpec,
)
from tnt_platform.transit.transforms.answers import compile_answer
from tnt_platform.transit.transforms.cases import distinct_cases, identify, rejected_rows, sample_rows
from tnt_platform.transit.transforms.request_template import RequestTemplate, read_template
from tnt_platform.transit.transforms.requests import build_requests, with_ship_dates

KEY = ("file_key", "line_no")
AskAgain = Literal["none", "quarantined", "all"]
PROGRESS_EVERY = 1_000
# The API could not be reached or was out of order: asked again whenever the date is materialized.
TRANSIENT_REASONS = (
    "timeout",
    "connection",
    "throttled",
    "server_error",
    "circuit_open",
    "html_instead_of_json",
    "invalid_json",
)
ENRICHED_COLUMNS = (
    "ship_profile",
    "request_id",
    "request_payload",
    "response_payload",
    "actual_transit_days",
    "time_taken_ms",
    "attempts",
    "asked_at",
)


@dataclass
class AskedCounts:
    """What a run asked and got; `failed` maps a request to why it has no answer worth keeping."""

    requests: int = 0
    reused: int = 0
    attempts: int = 0
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparedCases:
    """Cases that can be asked about (with their request_id), and what became of the others."""

    rows: pl.DataFrame
    requests: pl.DataFrame
    rejected: pl.DataFrame
    deduplicated: int
    filtered: int


@dataclass(frozen=True)
class Enrichment:
    """The enrichment of one date of one dataset."""

    spec: TransitSpec
    api: RateApi
    date: str
    workspace: Workspace
    settings: Settings
    run_id: str
    ask_again: AskAgain
    progress: Callable[[str], None]
    client: HttpClient

    def publish(self) -> Published:
        """Publish one row per case with its answer; a case without one is quarantined with the reason.

        Columns: those of shipments, then ship_profile, request_id, request_payload, response_payload,
        actual_transit_days (Int32), time_taken_ms, attempts, asked_at (UTC). Key: file_key, line_no.

        Raises:
            CheckFailed: fewer than `min_coverage` of the cases were answered.
        """
        upstream = Upstream.read(self.workspace.store, self.spec.dataset(SHIPMENTS), self.date)
        base = self.workspace.store.current(self.spec.dataset(ENRICHED))
        shippers = read_shippers(self.workspace.raw, self.api.reference)
        recipe = self._recipe(shippers)
        finished = published_unchanged(base, upstream, self.date, recipe)
        if finished and self.ask_again == "none" and not _awaits_answers(finished.snapshot, self.date):
            return finished
        cases = upstream.frame
        prepared = self._prepare(cases, upstream.file_times, shippers)
        asked = AskedCounts()
        rows = _with_answers(prepared, self._answers(prepared.requests, asked), asked)
        coverage = _coverage(rows)
        published = publish_checked(
            self.workspace,
            self.spec.dataset(ENRICHED),
            self._change(upstream, recipe, cases, prepared, rows),
            base=base,
            key=KEY,
            checks=[
                unique_keys(KEY, self.date),
                values_in_range(self.date, "actual_transit_days", 0, MAX_TRANSIT_DAYS),
                _answer_coverage(coverage, self.api.min_coverage),
            ],
            run_id=self.run_id,
        )
        return published.with_facts(
            {
                "requests_asked": asked.requests,
                "answers_reused": asked.reused,
                "request_attempts": asked.attempts,
                "answer_coverage": round(coverage, 4),
                "reference_sha256": shippers.sha256,
            }
        )

    def _change(
        self,
        upstream: Upstream,
        recipe: str,
        cases: pl.DataFrame,
        prepared: PreparedCases,
        rows: pl.DataFrame,
    ) -> PartitionChange:
        frame = rows.filter(pl.col("actual_transit_days").is_not_null())
        rejected = pl.concat([prepared.rejected, _unanswered(rows, self.spec.identity)])
        return PartitionChange(
            partition=self.date,
            data=frame.select([*cases.columns, *ENRICHED_COLUMNS]).sort(KEY),
            inputs=upstream.ledger(recipe),
            quarantine=rejected,
            counts=RowCounts(
                cases.height, frame.height, rejected.height, prepared.deduplicated, prepared.filtered
            ),
            inputs_digest=upstream.inputs_digest,
        )

    @cached_property
    def _template(self) -> RequestTemplate:
        path = self.spec.request_path
        return read_template(path.read_bytes(), source=str(path))

    def _recipe(self, shippers: Shippers) -> str:
        """Fingerprint what decides the outcome besides the shipments; a change of it computes the date again."""
        parts = (
            self.spec.request_path.read_text(),
            self.api.answer,
            self.spec.sample_per_file,
            self.spec.identity,
            shippers.sha256,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def _prepare(self, cases: pl.DataFrame, file_times: pl.DataFrame, shippers: Shippers) -> PreparedCases:
        distinct = distinct_cases(cases, file_times, self.spec.identity)
        chosen = distinct.kept
        if sample := self.spec.sample_per_file:
            chosen = sample_rows(chosen, rows_per_file=sample.rows, seed=sample.seed)
        matched, unmatched = shippers.match(chosen, self.spec.identity)
        rows = with_ship_dates(matched, date.fromisoformat(self.date))
        rows = rows.with_columns(identify(rows, ["ship_date", "shipper_sha256"]).alias("ship_profile"))
        built = build_requests(
            rows, self._template, {"api_url": self.settings.resolve(self.api.url).rstrip("/")}
        )
        rows = pl.concat([rows, built.asked_by], how="horizontal").join(
            built.requests.select("request_id", "request_payload"),
            on="request_id",
            how="left",
            maintain_order="left",
        )
        askable = pl.col("request_id").is_not_null()
        unaskable = rejected_rows(
            rows.filter(~askable), self.spec.identity, pl.col("reason_code"), pl.col("reason")
        )
        return PreparedCases(
            rows.filter(askable).drop("reason_code", "reason"),
            built.requests,
            pl.concat([distinct.rejected, unmatched, unaskable]),
            distinct.deduplicated,
            distinct.kept.height - chosen.height,
        )

    def _answers(self, requests: pl.DataFrame, asked: AskedCounts) -> pl.DataFrame:
        """Return the answers worth keeping (ANSWER_SCHEMA), after asking for those that are missing."""
        journal = AnswerJournal(self.workspace, self.spec.dataset(ANSWERS), self.date, self.run_id)
        expression = compile_answer(self.api.answer)
        known = read_again(journal.read().join(requests, on="request_id", how="semi"), expression)
        if self.ask_again == "all":
            known = known.clear()
        elif self.ask_again == "quarantined":
            known = known.filter(pl.col("actual_transit_days").is_not_null())
        missing = requests.join(known, on="request_id", how="anti")
        asked.reused, asked.requests = known.height, missing.height
        if missing.is_empty():
            return known
        fresh: list[dict[str, object]] = []

        def keep(answer: HttpResponse) -> None:
            asked.attempts += answer.attempts
            row = answer_row(answer, expression)
            if row["reason_code"] is None or row["reason_code"] in FINAL_REASONS:
                fresh.append(row)
                journal.add(row)
            else:
                why = (str(row["reason_code"]), str(row["reason"]))
                asked.failed[answer.request_id] = why
                if answer.attempts:
                    journal.fail(answer.request_id, *why)
            done = len(fresh) + len(asked.failed)
            if done % PROGRESS_EVERY == 0:
                self.progress(f"{self.date}: {done} of {missing.height} requests answered")

        # First what was never asked: requests that fail for good must not keep new ones from being sent.
        failed_before = pl.col("request_id").is_in(list(journal.failed_before()))
        missing = pl.concat([missing.filter(~failed_before), missing.filter(failed_before)])
        with journal:
            self.client.send_many(self._http_requests(missing), on_response=keep)
        return pl.concat([known, pl.DataFrame(fresh, schema=ANSWER_SCHEMA)])

    def _http_requests(self, requests: pl.DataFrame) -> Iterator[HttpRequest]:
        headers = {
            name: self.settings.resolve(text)
            for name, text in {**self._template.headers, **self.api.headers}.items()
        }
        for request_id, method, url, payload in requests.iter_rows():
            yield HttpRequest(request_id, method, url, headers, None if payload is None else payload.encode())


def _with_answers(prepared: PreparedCases, answers: pl.DataFrame, asked: AskedCounts) -> pl.DataFrame:
    failed = pl.DataFrame(
        [(key, code, reason) for key, (code, reason) in asked.failed.items()],
        schema={"request_id": pl.Utf8, "reason_code": pl.Utf8, "reason": pl.Utf8},
        orient="row",
    )
    every = pl.concat([answers, failed], how="diagonal")
    return prepared.rows.join(every, on="request_id", how="left", maintain_order="left")


def _unanswered(rows: pl.DataFrame, identity: Sequence[str]) -> pl.DataFrame:
    without = rows.filter(pl.col("actual_transit_days").is_null())
    return rejected_rows(without, [*identity, "request_id"], pl.col("reason_code"), pl.col("reason"))


def _coverage(rows: pl.DataFrame) -> float:
    """Return the share of cases that the API answered, if only by a final reason; 1.0 when there are none."""
    answered = pl.col("actual_transit_days").is_not_null() | pl.col("reason_code").is_in(FINAL_REASONS)
    return rows.select(answered.mean()).item() if rows.height else 1.0


def _answer_coverage(coverage: float, least: float) -> Check:
    """Check that an outage does not pass for a finished date."""

    def check(draft: Snapshot) -> CheckOutcome:
        description = f"the API answered {coverage:.1%} of the cases; min_coverage is {least:.1%}"
        return CheckOutcome("answer_coverage", coverage >= least, description)

    return check


def _awaits_answers(published: Snapshot, partition: str) -> bool:
    """Tell whether a case lacks its answer only because the API could not be reached."""
    reasons = published.quarantine([partition])["reason_code"]
    return bool(reasons.is_in(TRANSIENT_REASONS).any())
