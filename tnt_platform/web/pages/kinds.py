"""Which datasets a page can show, told by their columns: the web knows shapes, not names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.problems import missing

_SUMMARY = {"group_kind", "group_value", "cases", "passed", "pass_rate"}
_OBSERVATIONS = {"internal_series_code", "period", "value"}
_TENANTS = {"unique_id", "title_en"}
_REPORT_FILES = {"file_key", "format", "size_bytes", "records", "bad_records"}


def is_transit(snapshot: Snapshot) -> bool:
    """Daily pass rates by group."""
    return set(snapshot.manifest.schema) >= _SUMMARY


def is_series(snapshot: Snapshot) -> bool:
    """The history of observations of a source; not what its newest file said (`<dataset>/series`)."""
    return set(snapshot.manifest.schema) >= _OBSERVATIONS and "/" not in snapshot.dataset


def is_directory(snapshot: Snapshot) -> bool:
    """Tenants of a mall."""
    return set(snapshot.manifest.schema) >= _TENANTS


def is_report(snapshot: Snapshot) -> bool:
    """The files of each day."""
    return set(snapshot.manifest.schema) >= _REPORT_FILES


def datasets_of(catalog: Catalog, fits: Callable[[Snapshot], bool]) -> list[Snapshot]:
    """The current versions of one kind."""
    return [snapshot for snapshot in catalog.all_current() if fits(snapshot)]


def chosen_of(snapshots: Sequence[Snapshot], dataset: str | None) -> Snapshot | None:
    """The one that was asked for, else the first; None if there is none.

    Raises:
        Problem: 404, what was asked for is none of them.
    """
    if dataset is None:
        return snapshots[0] if snapshots else None
    for snapshot in snapshots:
        if snapshot.dataset == dataset:
            return snapshot
    raise missing(f"{dataset[:200]!r} is no dataset that this page can show.")
