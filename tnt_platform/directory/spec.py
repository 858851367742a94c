"""What a directory dataset is, as its YAML says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tnt_platform.errors import ConfigError

PAGES, TENANTS, DATABASE = "pages", "tenants", "database"
STEPS = (PAGES, TENANTS, DATABASE)
# The one partition of every step: what the newest reading of the API says.
NEWEST = "newest"


@dataclass(frozen=True)
class DirectorySource:
    """The API that serves the directory in pages: `{url}?page=N&limit={page_size}`.

    The url and the values of `headers` and `cookies` may hold `${SECRETS}`. `pause_s`: at least so long between two
    requests. `readings`: so often all pages are read before a directory that keeps changing is given up; with 1, one
    that has a uniqueId on two pages is never taken.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    cookies: Mapping[str, str] = field(repr=False, default_factory=dict)
    page_size: int = 100
    concurrency: int = 4
    pause_s: float = 0.1
    max_page_bytes: int = 50_000_000
    timeout_s: float = 30.0
    attempts: int = 5
    readings: int = 3

    def __post_init__(self) -> None:
        for name in ("page_size", "readings"):
            if getattr(self, name) < 1:
                raise ConfigError(f"source.{name} is {getattr(self, name)}; it must be at least 1")
        if self.pause_s < 0:
            raise ConfigError(f"source.pause_s is {self.pause_s}; it can't be negative")


@dataclass(frozen=True)
class DirectorySpec:
    """One directory. `lookups` is the folder of categories.csv, floors.csv and their mappings; `timezone` is where the
    source's clocks hang.

    `max_withdrawn_share`: a sync that would withdraw a larger share of the published tenants is refused.
    `database_url` may be a `${VARIABLE}`; when empty, the embedded server is used.
    """

    name: str
    source: DirectorySource
    lookups: Path
    timezone: str = "UTC"
    max_withdrawn_share: float = 0.2
    database_url: str = field(repr=False, default="${DATABASE_URL:-}")
    lock_timeout_s: float = 300.0

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps in the order in which they build on each other."""
        return STEPS

    def dataset(self, step: str) -> str:
        """The id of a step in the lake."""
        return f"{self.name}/{step}"
