"""Find the datasets that a page can show by their columns, since the web knows no dataset names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.problems import not_found

_SUMMARY = {"group_kind", "group_value", "cases", "passed", "pass_rate"}
_OBSERVATIONS = {"internal_series_code", "period", "value"}
_TENANTS = {"unique_id", "title_en"}
_REPORT_FILES = {"file_key", "format", "size_bytes", "records", "bad_records"}


def is_transit(snapshot: Snapshot) -> bool:
    """Whether it holds daily pass rates by group."""
    return set(snapshot.manifest.schema) >= _SUMMARY


def is_series(snapshot: Snapshot) -> bool:
    """Whether it holds the observations of a source (and not only of its latest file, `<dataset>/series`)."""
    return set(snapshot.manifest.schema) >= _OBSERVATIONS and "/" not in snapshot.dataset


def is_directory(snapshot: Snapshot) -> bool:
    """Whether it holds the tenants of a mall."""
    return set(snapshot.manifest.schema) >= _TENANTS


def is_report(snapshot: Snapshot) -> bool:
    """Whether it holds the files of each day."""
    return set(snapshot.manifest.schema) >= _REPORT_FILES


def datasets_of(catalog: Catalog, matches: Callable[[Snapshot], bool]) -> list[Snapshot]:
    """Return the current versions of one kind."""
    return [snapshot for snapshot in catalog.all_current() if matches(snapshot)]


def chosen_of(snapshots: Sequence[Snapshot], dataset: str | None) -> Snapshot | None:
    """Return the requested dataset, or the first by default; None if there are none.

    Raises:
        Problem: 404, the requested dataset is not among them.
    """
    if dataset is None:
        return snapshots[0] if snapshots else None
    for snapshot in snapshots:
        if snapshot.dataset == dataset:
            return snapshot
    raise not_found(f"This page can't show the dataset {dataset[:200]!r}.")
