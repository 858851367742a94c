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


def describe_error(error: BaseException) -> str:
    """Describe an error in one line: of grouped errors the innermost, since the group only counts them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, TntError) else f"{type(error).__name__}: {error}"


@contextmanager
def as_dagster_failure(dataset: str, context: dg.AssetExecutionContext) -> Iterator[None]:
    """Raise any error as dg.Failure; Dagster retries only a RetryableError, never a bug or a wrong setting.

    After the last attempt the failure allows no retry, because Dagster would put "Exceeded max_retries" in its place.
    """
    try:
        yield
    except dg.Failure as failure:
        failure.allow_retries = failure.allow_retries and not _is_last_attempt(context)
        raise
    except (Exception, READER_PANIC) as error:
        retryable = isinstance(error, RetryableError) and not _is_last_attempt(context)
        raise dg.Failure(
            f"{dataset}: {describe_error(error)}",
            metadata={BEYOND_LIMITS: _is_beyond_limits(error)},
            allow_retries=retryable,
        ) from error


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


def _is_last_attempt(context: dg.AssetExecutionContext) -> bool:
    op = context.op_execution_context
    policy = op.op_def.retry_policy
    return policy is not None and op.retry_number >= policy.max_retries


def _is_beyond_limits(error: BaseException) -> bool:
    """Whether a guard rail stopped the publish, and no other check."""
    outcomes = error.outcomes if isinstance(error, CheckFailed) else ()
    failed = {o.name for o in outcomes if isinstance(o, CheckOutcome) and o.blocking and not o.passed}
    return bool(failed) and failed <= GUARD_RAIL_DESCRIPTIONS.keys()
