"""Define the fields of a directory's `defs.yaml`, and its steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tnt_platform.directory.transforms.lookups import LOOKUP_FILES, FaultyLookup, lookups_of
from tnt_platform.errors import ConfigError
from tnt_platform.specs.dataset import DatasetSpec
from tnt_platform.specs.fields import Cron, Headers, SharedUrl, TimeZone, Unit, WebUrl
from tnt_platform.specs.spec import Mistake, Spec

if TYPE_CHECKING:
    from tnt_platform.settings import Settings

PAGES, TENANTS, DATABASE = "pages", "tenants", "database"
STEPS = (PAGES, TENANTS, DATABASE)
# The single partition of every step: the newest state of the API.
NEWEST = "newest"


class DirectorySource(Spec):
    """The API that serves the directory in pages: `{url}?page=N&limit={page_size}`."""

    url: Annotated[WebUrl, Field(description="Address of the API, without page and limit.")]
    headers: Annotated[Headers, Field(description="Headers of each request; secrets as `${VARIABLES}`.")] = (
        Field(default_factory=dict, repr=False)
    )
    cookies: Annotated[Headers, Field(description="Cookies of each request; secrets as `${VARIABLES}`.")] = (
        Field(default_factory=dict, repr=False)
    )
    page_size: Annotated[
        int,
        Field(ge=1, le=10_000, description="Records per page: the `limit` of a request."),
        Unit("records"),
    ] = 100
    concurrency: Annotated[
        int, Field(ge=1, le=64, description="Requests in flight at once, at most."), Unit("requests")
    ] = 4
    pause_s: Annotated[
        float, Field(ge=0, description="Time between two requests, at least."), Unit("seconds")
    ] = 0.1
    max_page_mb: Annotated[float, Field(gt=0, description="Largest page that is accepted."), Unit("MB")] = 50
    timeout_s: Annotated[float, Field(gt=0, description="Longest wait for a page."), Unit("seconds")] = 30
    attempts: Annotated[
        int, Field(ge=1, le=20, description="Attempts for a page before the run fails."), Unit("attempts")
    ] = 5
    readings: Annotated[
        int,
        Field(
            ge=1,
            le=10,
            description="How often to read all pages, at most, if they change while they are read. "
            "With 1, a directory that has a `uniqueId` on two pages is never accepted.",
        ),
        Unit("readings"),
    ] = 3

    @property
    def max_page_bytes(self) -> int:
        """Return the largest accepted page, in bytes."""
        return int(self.max_page_mb * 1_000_000)


class DirectorySpec(DatasetSpec):
    """A paginated directory API whose tenants are matched, translated and upserted into PostgreSQL.

    Beside the YAML are its lookups: categories.csv, floors.csv and their mappings.
    """

    timezone: Annotated[TimeZone, Field(description="Time zone of the source's dates and times.")] = "UTC"
    source: Annotated[DirectorySource, Field(description="The API that serves the directory.")]
    max_withdrawn_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="A sync is blocked if a larger share of the published tenants would be withdrawn, by it "
            "or over a day.",
        ),
        Unit("share, 0 to 1"),
    ] = 0.2
    max_moved_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="A sync is blocked if a larger share of the tenants would change floor, zone, unit or kind.",
        ),
        Unit("share, 0 to 1"),
    ] = 0.2
    max_renamed_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="A sync is blocked if a larger share of the tenants would change their name.",
        ),
        Unit("share, 0 to 1"),
    ] = 0.2
    max_emptied_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="A sync is blocked if a larger share of the tenants would lose the value of a column.",
        ),
        Unit("share, 0 to 1"),
    ] = 0.2
    database_url: Annotated[
        SharedUrl,
        Field(description="PostgreSQL database of the tenants; if empty, the embedded server."),
    ] = Field(default="${DATABASE_URL:-}", repr=False)
    lock_timeout_s: Annotated[
        float, Field(gt=0, description="How long a sync waits for another sync to end."), Unit("seconds")
    ] = 300
    cron: Annotated[Cron | None, Field(description="When to read the API, in `timezone`.")] = None

    @property
    def steps(self) -> tuple[str, ...]:
        """Return the steps in the order in which they build on each other."""
        return STEPS

    def dataset(self, step: str) -> str:
        """Return the id of a step's dataset in the lake."""
        return f"{self.name}/{step}"

    def lookup_files(self) -> dict[str, bytes]:
        """Read the lookup files that exist beside the YAML, by file name."""
        paths = {name: self.folder / name for name in LOOKUP_FILES}
        return {name: path.read_bytes() for name, path in paths.items() if path.is_file()}

    def mistakes_beside(self, settings: Settings) -> Iterator[Mistake]:
        """Find lookup files that are missing, invalid or contradict each other."""
        try:
            lookups_of(self.lookup_files())
        except FaultyLookup as error:
            # Of a file that is missing, the YAML is the place that is left.
            file = error.file if error.file in self.lookup_files() else None
            fix = "correct it, or take it from the shipped mall_directory"
            yield Mistake(str(error), "lookup files that agree", fix, file=file, line=error.line)
        except ConfigError as error:
            yield Mistake(str(error), "lookup files that agree", "fix the file beside this one")
