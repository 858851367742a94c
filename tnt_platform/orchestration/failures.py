"""Translate the platform's errors into Dagster's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg
import polars as pl

from tnt_platform.errors import CheckFailed, RetryableError, TntError
from tnt_platform.lake.publishing import CheckOutcome
from tnt_platform.orchestration.guard_rails import GUARD_RAIL_DESCRIPTIONS

# Metadata of a failure: whether nothing but the guard rails of a publish stopped the run.
BEYOND_LIMITS = "beyond_limits"

# polars raises it on some damaged files; it is not an Exception, so `except Exception` lets it end the process.
READER_PANIC = pl.exceptions.PanicException

RETRY_SOON = dg.RetryPolicy(
    max_retries=2, delay=15, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
RETRY_LATER = dg.RetryPolicy(
    max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)


def describe_error(error: BaseException) -> str:
    """Describe an error in one line: of grouped errors the innermost, since the group only counts them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, TntError) else f"{type(error).__name__}: {error}"


@contextmanager
def as_dagster_failure(
    dataset: str, context: dg.AssetExecutionContext, retry: dg.RetryPolicy = RETRY_LATER
) -> Iterator[None]:
    """Raise any error as dg.Failure, or as dg.RetryRequested if it is a RetryableError and `retry` has attempts left.

    The op itself has no retry policy: Dagster would try a run again that somebody stopped, and would put "Exceeded
    max_retries" in the place of the last failure.

    Raises:
        dg.RetryRequested: its cause is the failure of this attempt.
        dg.Failure: nothing is tried again.
    """
    try:
        yield
    except dg.Failure as failure:
        _retry(failure, context, retry)
        raise
    except (Exception, READER_PANIC) as error:
        wrapped = dg.Failure(
            f"{dataset}: {describe_error(error)}",
            metadata={BEYOND_LIMITS: _is_beyond_limits(error)},
            allow_retries=isinstance(error, RetryableError),
        )
        _retry(wrapped, context, retry)
        raise wrapped from error


def _retry(failure: dg.Failure, context: dg.AssetExecutionContext, retry: dg.RetryPolicy) -> None:
    """Ask for another attempt if the failure allows one and there is one left."""
    attempts = context.op_execution_context.retry_number
    if failure.allow_retries and attempts < retry.max_retries:
        raise dg.RetryRequested(retry.max_retries, retry.calculate_delay(attempts + 1)) from failure
    failure.allow_retries = False


def failed_dates(dataset: str, failures: Mapping[str, BaseException], done: int) -> dg.Failure:
    """Make one failure that names every date that failed and why; the other dates are published.

    A retry runs all dates again, so it is allowed only if every failure is retryable.
    """
    lines = [f"{date}: {describe_error(error)}" for date, error in sorted(failures.items())]
    dates = ", ".join(sorted(failures))
    return dg.Failure(
        description=f"{dataset}: {len(failures)} of {len(failures) + done} dates failed ({dates}).\n"
        + "\n".join(lines),
        metadata={
            "failed_dates": dg.MetadataValue.json(sorted(failures)),
            "published_dates": done,
            BEYOND_LIMITS: all(map(_is_beyond_limits, failures.values())),
        },
        allow_retries=all(isinstance(error, RetryableError) for error in failures.values()),
    )


def _is_beyond_limits(error: BaseException) -> bool:
    """Whether a guard rail stopped the publish, and no other check."""
    outcomes = error.outcomes if isinstance(error, CheckFailed) else ()
    failed = {o.name for o in outcomes if isinstance(o, CheckOutcome) and o.blocking and not o.passed}
    return bool(failed) and failed <= GUARD_RAIL_DESCRIPTIONS.keys()
