"""Tell how old the content of a dataset is, whatever its runs say: its newest period, and when it last changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from tnt_platform.lake.publishing import CheckOutcome, Published
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.series.spec import SOURCE, SeriesSpec

CONTENT_IS_FRESH: Final = "content_is_fresh"
# Publishers are late by weeks or months; what is older has most likely ended, or is no longer fetched.
_DEFAULT_DAYS: Final[Mapping[str, int]] = {"D": 60, "W": 90, "M": 150, "Q": 300, "A": 900}


def with_freshness(spec: SeriesSpec, published: Published, now: datetime) -> Published:
    """Add the age of the content to the checks and facts of a publish, also of one that changed nothing."""
    newest = max(published.snapshot.manifest.watermarks.values(), default=None)
    changed = _last_change(published.snapshot)
    facts: dict[str, Any] = {
        "newest_period": f"{newest:%Y-%m-%d}" if newest else None,
        "content_changed_at": str(changed) if changed else None,
    }
    outcome = _check(spec, newest, changed, now)
    return replace(published, checks=(*published.checks, outcome)).with_facts(
        {name: value for name, value in facts.items() if value is not None}
    )


def _check(
    spec: SeriesSpec, newest: datetime | None, changed: datetime | None, now: datetime
) -> CheckOutcome:
    """Warn of a newest period that is older than the publisher's usual delay explains."""
    if newest is None:
        return CheckOutcome(CONTENT_IS_FRESH, True, "nothing is published yet", blocking=False)
    limit = spec.newest_within_days or _DEFAULT_DAYS[spec.frequency]
    age_days = (now - newest.astimezone(UTC)).days
    found = f"the newest period, {newest:%Y-%m-%d}, began {age_days:,} days ago"
    found += f"; the source's content last changed on {changed:%Y-%m-%d}" if changed else ""
    if age_days <= limit:
        return CheckOutcome(CONTENT_IS_FRESH, True, found, blocking=False)
    found += (
        f". That is more than {limit:g} days (`newest_within_days`): look whether the publisher has newer periods, at "
        "another address perhaps, or raise the limit"
    )
    return CheckOutcome(CONTENT_IS_FRESH, False, found, blocking=False)


def _last_change(snapshot: Snapshot) -> datetime | None:
    """Return when the capture was made that the version was published from."""
    captures = snapshot.inputs(SOURCE)
    changed = captures["last_modified"].max() if captures.height else None
    return changed if isinstance(changed, datetime) else None
