"""One Dagster data platform: raw files in, versioned and traceable published data out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tnt_platform.lake.read import read

__all__ = ["read"]


def __getattr__(name: str) -> Any:
    """`tnt_platform.read`, imported when it is used: the command line starts without polars."""
    if name == "read":
        from tnt_platform.lake.read import read

        return read
    raise AttributeError(f"module 'tnt_platform' has no attribute {name!r}")
