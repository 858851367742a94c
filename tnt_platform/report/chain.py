"""The steps of a daily report, in order, and the date of a run without partition."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from tnt_platform.errors import CheckFailed, ConfigError
from tnt_platform.lake.guard_rails import NO_OVERRIDES, Overrides
from tnt_platform.lake.publishing import Published, Workspace, retry_conflicts
from tnt_platform.report.files import EmptyDay, publish_files
from tnt_platform.report.report import compared_dates, publish_report
from tnt_platform.report.spec import FILES, ReportSpec
from tnt_platform.settings import Settings


@dataclass(frozen=True)
class ReportChain:
    """One run of a daily report."""

    spec: ReportSpec
    workspace: Workspace
    settings: Settings
    run_id: str = ""
    overrides: Overrides = NO_OVERRIDES
    isolate: bool = False

    def __enter__(self) -> ReportChain:
        return self

    def __exit__(self, *_: object) -> None:
        """Close nothing; it exists because the chains of all systems are context managers."""

    def publish(self, step: str, date: str) -> Published:
        """Bring one step of one date up to date; a date that is up to date costs a few small reads.

        Raises:
            EmptyDay: no file arrived on the date, so it has no report.
        """
        if step == FILES:
            return self._publish_files(date, self.overrides)
        for other in compared_dates(date):
            self._bring_up_to_date(other)
        return retry_conflicts(lambda: publish_report(self.spec, date, self.workspace, self.run_id))

    def _publish_files(self, date: str, overrides: Overrides) -> Published:
        return retry_conflicts(
            lambda: publish_files(
                self.spec, date, self.workspace, self.run_id, overrides, isolate=self.isolate
            )
        )

    def _bring_up_to_date(self, date: str) -> None:
        """Publish the files of a day that the report is compared with, or the report would be made once more later.

        The day's own run reports what is wrong with it.
        """
        if date >= self.spec.start_date.isoformat():
            with suppress(EmptyDay, CheckFailed):
                self._publish_files(date, NO_OVERRIDES)


def run_date(settings: Settings, now: datetime) -> str:
    """Return the date of a run without partition: the variable RUN_DATE, or else the day before `now` (UTC).

    Raises:
        ConfigError: RUN_DATE is not a valid date.
    """
    text = settings.environment.get("RUN_DATE", "").strip()
    if not text:
        return (now.astimezone(UTC).date() - timedelta(days=1)).isoformat()
    try:
        canonical = date.fromisoformat(text).isoformat()
    except ValueError:
        canonical = ""
    if canonical != text:
        raise ConfigError(f"RUN_DATE {text!r} is not a valid date; write it as 2026-11-20")
    return text
