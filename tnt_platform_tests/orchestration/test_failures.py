"""A failed run says first what went wrong, however often it was tried."""

import os
import signal
import time

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from tnt_platform.definitions import defs
from tnt_platform.errors import CheckFailed, NotFound, TntError, Unavailable
from tnt_platform.lake.guard_rails import REJECTED_SHARE
from tnt_platform.lake.publishing import CheckOutcome
from tnt_platform.orchestration.failures import as_dagster_failure, describe_error, failed_dates

CAUSE = "https://rates.test/quote: connection refused (127.0.0.1:9)"


def run_raising(error: Exception, *, retries: int) -> dg.ExecuteInProcessResult:
    """Run one asset that raises `error` at each attempt."""

    @dg.asset
    def prices(context: dg.AssetExecutionContext) -> None:
        with as_dagster_failure("prices", context, dg.RetryPolicy(max_retries=retries, delay=0)):
            raise error

    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize([prices], instance=instance, raise_on_error=False)


def failure(result: dg.ExecuteInProcessResult) -> dg.DagsterEvent:
    [event] = [event for event in result.all_events if event.is_step_failure]
    return event


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_the_cause_comes_first_after_the_last_attempt_too(retries: int) -> None:
    result = run_raising(Unavailable(CAUSE), retries=retries)
    attempts = [event for event in result.all_events if event.is_step_up_for_retry]
    assert len(attempts) == retries
    first_line = failure(result).step_failure_data.error_display_string.splitlines()[0]
    assert CAUSE in first_line
    assert "max_retries" not in first_line


def test_dates_that_failed_are_named_after_the_last_attempt_too() -> None:
    result = run_raising(failed_dates("transit", {"2026-01-12": Unavailable(CAUSE)}, done=1), retries=1)
    text = failure(result).step_failure_data.error_display_string
    assert CAUSE in text
    assert "max_retries" not in text.split("Stack Trace")[0]


@pytest.mark.parametrize("error", [NotFound("nothing there"), ValueError("a bug")])
def test_what_a_retry_cannot_mend_is_not_tried_again(error: Exception) -> None:
    result = run_raising(error, retries=2)
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    assert str(error) in failure(result).step_failure_data.error_display_string


@pytest.mark.parametrize(
    ("stopped_by_somebody", "status"),
    [(True, dg.DagsterRunStatus.CANCELED), (False, dg.DagsterRunStatus.FAILURE)],
)
def test_a_run_that_is_stopped_ends_without_another_attempt(
    stopped_by_somebody: bool, status: dg.DagsterRunStatus
) -> None:
    @dg.asset
    def prices(context: dg.AssetExecutionContext) -> None:
        if stopped_by_somebody:
            context.instance.report_run_canceling(context.run)
        with as_dagster_failure("prices", context):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)

    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(DagsterExecutionInterruptedError):
            dg.materialize([prices], instance=instance)
        [run] = instance.get_runs()
        assert run.status is status
        assert not instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY)


def test_no_op_has_a_retry_policy_which_would_start_a_stopped_run_again() -> None:
    assets = [asset for asset in defs().assets or [] if isinstance(asset, dg.AssetsDefinition)]
    assert len(assets) > 5
    assert {asset.op.retry_policy for asset in assets} == {None}


def test_the_innermost_of_grouped_errors_is_the_cause() -> None:
    inner = Unavailable(CAUSE)
    group = ExceptionGroup("unhandled errors in a TaskGroup", [ExceptionGroup("again", [inner])])
    assert describe_error(group) == CAUSE
    assert describe_error(ValueError("no")) == "ValueError: no"


def blocked(*names: str) -> CheckFailed:
    return CheckFailed("not published", [CheckOutcome(name, False, "too many") for name in names])


@pytest.mark.parametrize(
    ("errors", "beyond"),
    [
        ([blocked(REJECTED_SHARE)], True),
        ([blocked(REJECTED_SHARE), blocked("rows_conserved")], False),
        ([blocked(REJECTED_SHARE, "unique_keys")], False),
        ([blocked(REJECTED_SHARE), Unavailable(CAUSE)], False),
    ],
)
def test_a_failure_tells_whether_only_guard_rails_stopped_it(errors: list[TntError], beyond: bool) -> None:
    found = failed_dates("transit", {f"2026-01-{n:02}": error for n, error in enumerate(errors, 1)}, done=0)
    assert found.metadata["beyond_limits"].value is beyond
    if len(errors) == 1:
        data = failure(run_raising(errors[0], retries=0)).step_failure_data.user_failure_data
        assert data is not None
        assert data.metadata["beyond_limits"].value is beyond
