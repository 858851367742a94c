"""Translate the platform's errors into Dagster's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg
import polars as pl

from tnt_platform.errors import RetryableError, TntError

# polars raises it on some damaged files; it is not an Exception, so `except Exception` lets it end the process.
READER_PANIC = pl.exceptions.PanicException


def describe_error(error: BaseException) -> str:
    """Describe an error in one line."""
    return str(error) if isinstance(error, TntError) else f"{type(error).__name__}: {error}"


@contextmanager
def as_dagster_failure(dataset: str) -> Iterator[None]:
    """Raise any error as dg.Failure; Dagster retries only a RetryableError, never a bug or a wrong setting."""
    try:
        yield
    except dg.Failure:
        raise
    except (Exception, READER_PANIC) as error:
        retryable = isinstance(error, RetryableError)
        raise dg.Failure(f"{dataset}: {describe_error(error)}", allow_retries=retryable) from error


def failed_dates(dataset: str, failures: Mapping[str, BaseException], done: int) -> dg.Failure:
    """Make one failure that names every date that failed and why; the other dates are published.

    A retry runs all dates again, so it is allowed only if every failure is retryable.
    """
    lines = [f"{date}: {describe_error(error)}" for date, error in sorted(failures.items())]
    dates = ", ".join(sorted(failures))
    return dg.Failure(
        description=f"{dataset}: {len(failures)} of {len(failures) + done} dates failed ({dates}).\n"
        + "\n".join(lines),
        metadata={"failed_dates": dg.MetadataValue.json(sorted(failures)), "published_dates": done},
        allow_retries=all(isinstance(error, RetryableError) for error in failures.values()),
    )
