"""Guard rails of a publish: how much may be rejected, and how much of what is published may go.

A bad upload looks like any other: the file is there, a few rows are read, the run is green. What gives it away is the
share of rows that cannot be read, or of published rows that would vanish. Beyond the limits the draft is not
committed; a person who has looked at it says so once (`Overrides`), and the version records that.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from tnt_platform.lake.publishing import PREVIEW_ROWS, Check, CheckOutcome
from tnt_platform.lake.snapshot import Draft, Snapshot
from tnt_platform.lake.version_diff import diff

if TYPE_CHECKING:
    from tnt_platform.specs.dataset import DatasetSpec

REJECTED_SHARE: Final = "rejected_share"
REMOVED_SHARE: Final = "removed_share"
REVISED_SHARE: Final = "revised_share"
# A share of fewer rows says little, so below this only the loss of every row is stopped.
MIN_ROWS: Final = 20
_REASONS_NAMED: Final = 3


@dataclass(frozen=True)
class Overrides:
    """What a person decided to publish in spite of the guard rails."""

    accept_rejected: bool = False
    accept_vanished: bool = False
    accept_revised: bool = False

    @property
    def about(self) -> dict[str, object]:
        """Return what the manifest records; nothing if nothing was decided."""
        decided = [name for name, value in asdict(self).items() if value]
        return {"overrides": decided} if decided else {}


NO_OVERRIDES: Final = Overrides()


@dataclass(frozen=True)
class GuardRails:
    """The limits of one publish, what was decided about them, and the command that publishes all the same."""

    max_rejected_share: float
    max_removed_share: float
    overrides: Overrides
    command: str
    rows: str = "rows"

    @classmethod
    def of(
        cls,
        spec: DatasetSpec,
        overrides: Overrides,
        *,
        date: str | None = None,
        file: Path | None = None,
        rows: str = "rows",
    ) -> GuardRails:
        """Return the limits that a dataset declares.

        Args:
            date: the date that is published, if the dataset has dates.
            file: the local file that was taken instead of the source; without it, the next run would ask the source.
            rows: what messages call what is read.
        """
        command = f"tnt run {spec.name}" + (f" --date {date}" if date else "")
        command += f" --file {shlex.quote(str(file))}" if file else ""
        # Series, records and directories say in their own words how much may go.
        max_removed_share = getattr(spec, "max_removed_share", 1.0)
        return cls(spec.max_rejected_share, max_removed_share, overrides, command, rows)

    def rejected(self, rows_read: int, rejected: pl.DataFrame | int, reasons: str = "") -> CheckOutcome:
        """Check the share of the rows read now that are rejected.

        Args:
            rejected: their quarantine rows (reason_code, file_key, line_no, raw), or how many there are, `reasons`
                saying why.
        """
        rows = rejected if isinstance(rejected, int) else rejected.height
        if not isinstance(rejected, int):
            reasons = top_reasons(rejected)
        found = f"{rows:,} of {rows_read:,} {self.rows} read are rejected ({_share(rows, rows_read)})"
        found += f": {reasons}" if rows and reasons else ""
        passed = not exceeds(rows, rows_read, self.max_rejected_share)
        sample = rejected.head(PREVIEW_ROWS) if isinstance(rejected, pl.DataFrame) and rows else None
        if not passed and self.overrides.accept_rejected:
            return CheckOutcome(REJECTED_SHARE, True, f"{found}; accepted by --accept-rejected", sample)
        if not passed:
            found += (
                f"; {_limit('max_rejected_share', self.max_rejected_share, rows_read)}. Correct the file and deliver "
                f"it again, or publish the rest with `{self.command} --accept-rejected`"
            )
        return CheckOutcome(REJECTED_SHARE, passed, found, sample)

    def removed(self, base: Snapshot | None, partition: str | None = None, *, withdrawn: int = 0) -> Check:
        """Check the share of published rows, by key, that the draft no longer has: of a partition, or of all.

        Args:
            withdrawn: rows whose file was deleted where the YAML says that this withdraws them; they don't count.
        """

        def check(draft: Snapshot) -> CheckOutcome:
            before = _published_rows(base, partition) - withdrawn
            removed = max(_removed_rows(draft, partition) - withdrawn, 0)
            found = f"{removed:,} of {before:,} published rows would go ({_share(removed, before)})"
            passed = not exceeds(removed, before, self.max_removed_share)
            if passed:
                return CheckOutcome(REMOVED_SHARE, True, found)
            gone = (
                diff(base, draft, [partition] if partition else None)
                .filter(pl.col("change") == "removed")
                .head(PREVIEW_ROWS)
            )
            if self.overrides.accept_vanished:
                return CheckOutcome(REMOVED_SHARE, True, f"{found}; accepted by --accept-vanished", gone)
            found += (
                f"; {_limit('max_removed_share', self.max_removed_share, before)}. Deliver the whole file again, or "
                f"let them go with `{self.command} --accept-vanished`"
            )
            return CheckOutcome(REMOVED_SHARE, False, found, gone)

        return check


def top_reasons(rejected: pl.DataFrame) -> str:
    """Name the most frequent reasons of quarantine rows, each with its first file and line."""
    by_reason = (
        rejected.lazy()
        .group_by("reason_code")
        .agg(rows=pl.len(), place=pl.format("{}:{}", "file_key", "line_no").first())
        .sort("rows", "reason_code", descending=[True, False])
        .collect()
    )
    named = [
        f"{row['reason_code']} {row['rows']:,} (first in {row['place']})"
        for row in by_reason.head(_REASONS_NAMED).iter_rows(named=True)
    ]
    more = by_reason.height - len(named)
    return ", ".join(named) + (f" and {more} more reasons" if more > 0 else "")


def _published_rows(base: Snapshot | None, partition: str | None) -> int:
    if base is None:
        return 0
    if partition is None:
        return base.manifest.rows
    row = base.partition(partition)
    return int(row["published"]) if row else 0


def _removed_rows(draft: Snapshot, partition: str | None) -> int:
    if isinstance(draft, Draft) and draft.unchanged:
        return 0
    if partition is None:
        return draft.manifest.changelog.removed
    changes = draft.manifest.changelog.by_partition.get(partition)
    return changes.removed if changes else 0


def exceeds(rows: int, of: int, limit: float) -> bool:
    """Tell whether `rows` are more than a share of `of`; of fewer than MIN_ROWS, whether they are all.

    A limit of 1 allows everything, one of 0 nothing.
    """
    if not rows or limit >= 1:
        return False
    if not limit:
        return True
    return rows >= of if of < MIN_ROWS else rows > limit * of


def _limit(name: str, limit: float, of: int) -> str:
    is_share = of >= MIN_ROWS or not limit
    return f"more than {name} ({limit:.0%})" if is_share else "that is all of them"


def _share(rows: int, of: int) -> str:
    return f"{rows / of:.1%}" if of else "none"


def overridden(about: Mapping[str, object]) -> Sequence[str]:
    """Return the overrides that a manifest's `about` records."""
    found = about.get("overrides", ())
    return [str(name) for name in found] if isinstance(found, list | tuple) else []
