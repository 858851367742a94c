"""The platform as Dagster resources see it: settings, lake and raw files, opened when a run needs them."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from importlib.metadata import version

import dagster as dg

from tnt_platform.lake.publishing import Place
from tnt_platform.lake.versions import VersionedStore
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects


def open_place(settings: Settings) -> Place:
    """Open the raw files and the lake that `settings` name."""
    options = settings.s3_options()
    settings.scratch.mkdir(parents=True, exist_ok=True)
    lake = Objects.open(settings.lake_url, options=options)
    store = VersionedStore(
        lake,
        clock=lambda: datetime.now(UTC),
        entropy=secrets.token_bytes,
        code_version=version("tnt_platform"),
        scratch=settings.scratch,
    )
    return Place(Objects.open(settings.raw_url, options=options), lake, store, settings.scratch)


class Platform(dg.ConfigurableResource[None]):
    """Reads the environment of the process it runs in: the same code for a laptop, ECS and the tests."""

    def settings(self) -> Settings:
        """The settings of this process."""
        return Settings.from_environment(os.environ)

    def place(self) -> Place:
        """Where this process reads and writes."""
        return open_place(self.settings())
