"""What one sync is given, after every check that needs no server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tnt_platform.directory.postgres import staging as staging
from tnt_platform.directory.postgres.tables import KINDS


@dataclass(frozen=True, eq=False)
class Frames:
    """The frames of one sync (`directory_staging` lists their columns) and the unique_ids held back."""

    tenants: pl.DataFrame
    categories: pl.DataFrame
    floors: pl.DataFrame
    issues: pl.DataFrame
    unmapped: pl.DataFrame
    held_back: Sequence[str]

    @property
    def detail_counters(self) -> dict[str, int]:
        """Unmapped values are counted as distinct values, not records."""
        return {
            "validation_issues": self.issues.height,
            "unmapped_floors": self.unmapped.filter(kind="floor").height,
            "unmapped_categories": self.unmapped.filter(kind="category").height,
        }


def checked_frames(
    tenants: pl.DataFrame,
    *,
    categories: pl.DataFrame,
    floors: pl.DataFrame,
    issues: pl.DataFrame,
    unmapped: pl.DataFrame,
    held_back: Sequence[str],
) -> Frames:
    """The frames with the columns that are stored, and no others.

    Raises:
        PermanentError: one can't be stored; see `directory_staging.checked` and `checked_tenants`.
    """
    categories = staging.checked(categories, staging.CATEGORIES)
    floors = staging.checked(floors, staging.FLOORS)
    return Frames(
        tenants=staging.checked_tenants(tenants, categories, floors, tuple(KINDS)),
        categories=categories,
        floors=floors,
        issues=staging.checked(issues, staging.ISSUES),
        unmapped=staging.checked(unmapped, staging.UNMAPPED),
        held_back=held_back,
    )
