"""The platform as Dagster resources see it: settings, lake and raw files, opened when a run needs them."""

from __future__ import annotations

import os

import dagster as dg

from tnt_platform.lake.publishing import Place, open_place
from tnt_platform.settings import Settings


class Platform(dg.ConfigurableResource[None]):
    """Reads the environment of the process it runs in: the same code for a laptop, ECS and the tests."""

    def settings(self) -> Settings:
        """The settings of this process."""
        return Settings.from_environment(os.environ)

    def place(self) -> Place:
        """Where this process reads and writes."""
        return open_place(self.settings())
