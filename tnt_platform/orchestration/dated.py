"""One run over dates: each date step by step, a failure noted, the next date goes on, and all of it told at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import dagster as dg

from tnt_platform.errors import CheckFailed, TntError
from tnt_platform.lake.publishing import CheckOutcome
from tnt_platform.orchestration.failures import describe_error, failed_dates
from tnt_platform.orchestration.metadata import check_results
from tnt_platform.orchestration.steps import StepChecks


@dataclass
class DatedRun:
    """What a run has seen so far: outcomes by step and check, then by date; failures by date."""

    context: dg.AssetExecutionContext
    dataset: str
    checks: StepChecks
    outcomes: dict[tuple[str, str], dict[str, CheckOutcome | None]] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)
    done: int = 0

    def add(self, step: str, date: str, outcomes: Sequence[CheckOutcome]) -> None:
        """Note the outcomes of a step; without any, the date was found unchanged: what blocks had passed."""
        found: dict[str, CheckOutcome | None] = {outcome.name: outcome for outcome in outcomes}
        for name, outcome in (found or dict.fromkeys(self.checks.blocking[step])).items():
            self.outcomes.setdefault((step, name), {})[date] = outcome

    def fail(self, step: str, date: str, error: Exception) -> None:
        """Note why a date failed; the trace only helps where the error is not ours."""
        self.failures[date] = error
        outcomes = error.outcomes if isinstance(error, CheckFailed) else ()
        if found := [outcome for outcome in outcomes if isinstance(outcome, CheckOutcome)]:
            self.add(step, date, found)
        self.context.log.error(
            f"{date} {step}: {describe_error(error)}", exc_info=not isinstance(error, TntError)
        )

    def results(self, *, not_warnings: frozenset[str] = frozenset()) -> Iterator[dg.AssetCheckResult]:
        """Each check over all dates; `not_warnings` block nothing and are failures to be told about all the same."""
        for (step, name), outcomes in self.outcomes.items():
            key = dg.AssetKey([self.dataset, step])
            if dg.AssetCheckKey(key, name) in self.context.selected_asset_check_keys:
                warns = name in self.checks.warning[step] and name not in not_warnings
                yield check_results(key, name, outcomes, warns=warns)

    def raise_failures(self) -> None:
        """Raises:
        dg.Failure: naming each date that failed; the others are published.
        """
        if self.failures:
            raise failed_dates(self.dataset, self.failures, self.done)
