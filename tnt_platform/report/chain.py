"""Run the steps of a daily report in order, and decide which date a run without a partition is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from tnt_platform.errors import ConfigError
from tnt_platform.lake.publishing import Published, Workspace, retry_conflicts
from tnt_platform.report.files import publish_files
from tnt_platform.report.report import publish_report
from tnt_platform.report.spec import FILES, REPORT, ReportSpec
from tnt_platform.settings import Settings


@dataclass(frozen=True)
class ReportChain:
    """One daily report, where it lives, and how this run goes about it."""

    spec: ReportSpec
    workspace: Workspace
    settings: Settings
    run_id: str = ""

    def __enter__(self) -> ReportChain:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is kept open."""

    def publish(self, step: str, date: str) -> Published:
        """Bring one step of one date up to date; a date that is already costs a few small reads.

        Raises:
            EmptyDay: the date has no file; there is no report then.
        """
        publishers: dict[str, Callable[[], Published]] = {
            FILES: lambda: publish_files(self.spec, date, self.workspace, self.run_id),
            REPORT: lambda: publish_report(self.spec, date, self.workspace, self.run_id),
        }
        return retry_conflicts(publishers[step])


def run_date(settings: Settings, now: datetime) -> str:
    """The date that a run without a partition is about: RUN_DATE of the environment, else the day before `now` (UTC).

    Raises:
        ConfigError: RUN_DATE is no date.
    """
    text = settings.environment.get("RUN_DATE", "").strip()
    if not text:
        return (now.astimezone(UTC).date() - timedelta(days=1)).isoformat()
    try:
        found = date.fromisoformat(text).isoformat()
    except ValueError:
        found = ""
    if found != text:
        raise ConfigError(f"RUN_DATE is {text!r}; expected a day of the calendar such as 2026-11-20")
    return found
