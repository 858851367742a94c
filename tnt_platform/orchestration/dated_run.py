"""One run over dates: run every date, record each failure, carry on, and raise all failures together at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from tnt_platform.errors import CheckFailed, TntError
from tnt_platform.lake.publishing import CheckOutcome, Published
from tnt_platform.orchestration.failures import describe_error, failed_dates
from tnt_platform.orchestration.metadata import check_results, materialization
from tnt_platform.orchestration.steps import StepChecks


@dataclass
class DatedRun:
    """What a run has done so far: check outcomes by (step, check) and date; failures by date; finished dates."""

    context: dg.AssetExecutionContext
    dataset: str
    checks: StepChecks
    columns: Mapping[str, str]
    outcomes: dict[tuple[str, str], dict[str, CheckOutcome | None]] = field(default_factory=dict)
    failures: dict[str, BaseException] = field(default_factory=dict)
    done: int = 0

    def publish(
        self, step: str, published: Published, metadata: Mapping[str, Any], message: str | None = None
    ) -> None:
        """Log the materialization of a step with `metadata`, and keep the outcomes of its checks."""
        counts, key = published.counts, dg.AssetKey([self.dataset, step])
        self.add(step, published.partition, published.checks)
        self.context.log_event(materialization(published, key, metadata, self.columns))
        rows = f"{counts.rows_in} in, {counts.published} published, {counts.quarantined} quarantined"
        unchanged = "" if published.changed else " (unchanged)"
        left_out = f"; not read: {published.facts['left_out']}" if "left_out" in published.facts else ""
        self.context.log.info(f"{published.partition} {step}: {message or rows}{unchanged}{left_out}")

    def add(self, step: str, date: str, outcomes: Sequence[CheckOutcome]) -> None:
        """Keep the check outcomes of a step; none means that the date is unchanged, so the blocking checks passed."""
        found: dict[str, CheckOutcome | None] = {outcome.name: outcome for outcome in outcomes}
        for name, outcome in (found or dict.fromkeys(self.checks.blocking[step])).items():
            self.outcomes.setdefault((step, name), {})[date] = outcome

    def fail(self, step: str, date: str, error: BaseException) -> None:
        """Record why a date failed; log a stack trace only for an error that the platform did not raise itself."""
        self.failures[date] = error
        outcomes = error.outcomes if isinstance(error, CheckFailed) else ()
        if found := [outcome for outcome in outcomes if isinstance(outcome, CheckOutcome)]:
            self.add(step, date, found)
        self.context.log.error(
            f"{date} {step}: {describe_error(error)}", exc_info=not isinstance(error, TntError)
        )

    def results(self, *, not_warnings: frozenset[str] = frozenset()) -> Iterator[dg.AssetCheckResult]:
        """Yield each check over all dates; those in `not_warnings` don't block but are reported as errors."""
        for (step, name), outcomes in self.outcomes.items():
            key = dg.AssetKey([self.dataset, step])
            if dg.AssetCheckKey(key, name) in self.context.selected_asset_check_keys:
                warns = name in self.checks.warning[step] and name not in not_warnings
                unchecked = sorted(self.failures.keys() - outcomes)
                yield check_results(key, name, outcomes, warns=warns, unchecked=unchecked)

    def raise_failures(self) -> None:
        """Fail the run if a date failed.

        Raises:
            dg.Failure: names each date that failed; the others are published.
        """
        if self.failures:
            raise failed_dates(self.dataset, self.failures, self.done)
