"""What all handlers of one server share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from starlette.requests import Request

from tnt_platform.errors import ConfigError
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.dagster_state import DagsterWatch
from tnt_platform.web.frames import DatasetFrames, FrameCache, RejectedRows
from tnt_platform.web.gate import Keyring
from tnt_platform.web.metrics import Metrics
from tnt_platform.web.records.counts import RecordCounts
from tnt_platform.web.records.reader import RecordReader
from tnt_platform.web.records.tables import RecordTables

Check = Callable[[], str]


@dataclass(frozen=True)
class Web:
    """The parts of one server. `checks` of `/health/ready` return what they found, or raise."""

    settings: Settings
    options: WebOptions
    catalog: Catalog
    tables: RecordTables
    records: RecordReader
    counts: RecordCounts
    frames: DatasetFrames
    cache: FrameCache
    rejected_rows: RejectedRows
    dagster: DagsterWatch
    keyring: Keyring
    metrics: Metrics
    work: Work
    checks: Mapping[str, Check]

    @classmethod
    def of(cls, settings: Settings, checks: Mapping[str, Check]) -> Web:
        """Open the lake without reading it.

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
            frames=DatasetFrames(catalog),
            cache=FrameCache(catalog),
            rejected_rows=RejectedRows(catalog),
            dagster=DagsterWatch(options.dagster_api_url),
            keyring=Keyring(options.api_key),
            metrics=Metrics(catalog.all_current, lambda: catalog.damaged),
            work=Work(),
            checks=checks,
        )


def web_of(request: Request) -> Web:
    """Return the parts of the server that received a request."""
    web = request.app.state.web
    assert isinstance(web, Web)
    return web


MIN_KEY_LENGTH = 16


@dataclass(frozen=True)
class WebOptions:
    """Settings of the web server. Without an `api_key` everybody may read; `cors_origins` are sites whose scripts may.

    `dagster_url` is for links in pages, `dagster_api_url` for the queries of this server.
    """

    api_key: str | None = field(default=None, repr=False)
    cors_origins: tuple[str, ...] = ()
    dagster_url: str | None = None
    dagster_api_url: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> WebOptions:
        """Read TNT_API_KEY, TNT_CORS_ORIGINS (comma-separated), TNT_DAGSTER_URL and TNT_DAGSTER_API_URL.

        TNT_DAGSTER_API_URL defaults to TNT_DAGSTER_URL.

        Raises:
            ConfigError: the key is too short, or a URL is invalid.
        """
        env = settings.environment
        key = env.get("TNT_API_KEY") or None
        if key is not None and len(key) < MIN_KEY_LENGTH:
            raise ConfigError(f"TNT_API_KEY has {len(key)} characters; use {MIN_KEY_LENGTH} or more")
        origins = tuple(o.strip() for o in env.get("TNT_CORS_ORIGINS", "").split(",") if o.strip())
        for origin in origins:
            if origin != "*":
                _check_url("TNT_CORS_ORIGINS", origin)
        dagster = _url(env, "TNT_DAGSTER_URL")
        return cls(key, origins, dagster, _url(env, "TNT_DAGSTER_API_URL") or dagster)


def _url(env: Mapping[str, str], name: str) -> str | None:
    text = env.get(name)
    if not text:
        return None
    _check_url(name, text)
    return text.rstrip("/")


def _check_url(name: str, text: str) -> None:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"{name} {text!r} is not a URL; write it as https://data.example.org")


P = ParamSpec("P")
T = TypeVar("T")

THREADS = 8


class Work:
    """Runs blocking functions beside the event loop, at most `THREADS` at once."""

    def __init__(self) -> None:
        self._limiter: anyio.CapacityLimiter | None = None

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of `function`; if the request is cancelled, its thread still runs to the end."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(THREADS)
        call = partial(function, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)
