"""A process that takes dates through the chain without Dagster, so that it can be killed often.

Start it with `python -m tnt_platform_tests.e2e.chain_process PICKLED_ORDER`.
"""

from __future__ import annotations

import pickle
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tnt_platform.lake.publishing import Workspace
from tnt_platform.lake.versions import VersionedStore
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects
from tnt_platform.transit.chain import Chain
from tnt_platform.transit.spec import TransitSpec


@dataclass(frozen=True)
class Order:
    """What to publish, from where, to where; `environment` is the one that settings are read from."""

    spec: TransitSpec
    dates: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(self.environment)

    def workspace(self, *, later: timedelta = timedelta()) -> Workspace:
        """The raw files and the lake, seen by a clock that runs `later`."""
        settings = self.settings
        settings.scratch.mkdir(parents=True, exist_ok=True)
        lake = Objects.open(settings.lake_url, options=settings.s3_options())
        store = VersionedStore(
            lake,
            clock=lambda: datetime.now(UTC) + later,
            entropy=secrets.token_bytes,
            code_version="test",
            scratch=settings.scratch,
        )
        return Workspace(Objects.open(settings.raw_url), lake, store, settings.scratch)

    def carry_out(self) -> None:
        """Publish every step of every date, as a run does."""
        chain = Chain(self.spec, self.workspace(), self.settings)
        for date in self.dates:
            for step in self.spec.steps:
                chain.publish(step, date)


def main() -> None:
    """Say that the work begins, then do it."""
    order: Order = pickle.loads(Path(sys.argv[1]).read_bytes())
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    order.carry_out()


if __name__ == "__main__":
    main()
