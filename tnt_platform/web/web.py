"""What every handler shares: one of each for a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request

from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.dagster_state import DagsterWatch
from tnt_platform.web.datasets import Frames
from tnt_platform.web.kept import KeptFrames
from tnt_platform.web.metrics import Metrics
from tnt_platform.web.options import WebOptions
from tnt_platform.web.records.reader import RecordReader
from tnt_platform.web.records.summaries import RecordCounts
from tnt_platform.web.records.tables import RecordTables
from tnt_platform.web.refusals import Refusals
from tnt_platform.web.session import Keyring
from tnt_platform.web.work import Work

Check = Callable[[], str]


@dataclass(frozen=True)
class Web:
    """The parts of one server. `checks` are asked by `/health/ready`: name -> what it found, or an exception."""

    settings: Settings
    options: WebOptions
    catalog: Catalog
    tables: RecordTables
    records: RecordReader
    counts: RecordCounts
    frames: Frames
    kept: KeptFrames
    refusals: Refusals
    dagster: DagsterWatch
    keyring: Keyring
    metrics: Metrics
    work: Work
    checks: Mapping[str, Check]

    @classmethod
    def of(cls, settings: Settings, checks: Mapping[str, Check]) -> Web:
        """Open the lake; nothing is read yet.

        Raises:
            ConfigError: a setting is wrong.
        """
        options = WebOptions.of(settings)
        catalog = Catalog(Objects.open(settings.lake_url, options=settings.s3_options()))
        tables = RecordTables(catalog, settings.scratch / "web")
        return cls(
            settings=settings,
            options=options,
            catalog=catalog,
            tables=tables,
            records=RecordReader(catalog, tables),
            counts=RecordCounts(catalog),
            frames=Frames(catalog),
            kept=KeptFrames(catalog),
            refusals=Refusals(catalog),
            dagster=DagsterWatch(options.dagster_api_url),
            keyring=Keyring(options.api_key),
            metrics=Metrics(catalog.all_current),
            work=Work(),
            checks=checks,
        )


def web_of(request: Request) -> Web:
    """The parts of the server that got this request."""
    found = request.app.state.web
    assert isinstance(found, Web)
    return found
