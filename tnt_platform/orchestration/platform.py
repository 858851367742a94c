"""The Dagster resource that opens settings, lake and raw files when a run needs them."""

from __future__ import annotations

import os

import dagster as dg

from tnt_platform.lake.publishing import Workspace, open_workspace
from tnt_platform.settings import Settings


class Platform(dg.ConfigurableResource[None]):
    """Opens what the environment of its process names, so that a laptop, ECS and tests run the same code."""

    def settings(self) -> Settings:
        """Read the settings of this process."""
        return Settings.from_environment(os.environ)

    def workspace(self) -> Workspace:
        """Open the raw files and the lake of this process."""
        return open_workspace(self.settings())
