"""The links of a transit dataset, in order."""

from __future__ import annotations

import random  # noqa: TID251  (jitter between retries only; no result depends on it)
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import Literal

from tnt_platform.lake.publishing import Place, Published, retry_conflicts
from tnt_platform.services.http import HttpClient
from tnt_platform.settings import Settings
from tnt_platform.transit.enrichment import Enrichment
from tnt_platform.transit.files import publish_files
from tnt_platform.transit.results import publish_results, publish_summary
from tnt_platform.transit.shipments import publish_shipments
from tnt_platform.transit.spec import ENRICHED, FILES, RESULTS, SHIPMENTS, SUMMARY, TransitSpec

AskAgain = Literal["none", "quarantined", "all"]


def _silent(message: str) -> None:
    """Nobody is watching."""


@dataclass(frozen=True)
class Chain:
    """One dataset, where it lives, and how this run goes about it.

    `isolate` reads each file in a process of its own; `force` reads files again although nothing
    changed; `ask_again` repeats API requests: of quarantined cases, or all.
    """

    spec: TransitSpec
    place: Place
    settings: Settings
    run_id: str = ""
    isolate: bool = False
    force: bool = False
    ask_again: AskAgain = "none"
    progress: Callable[[str], None] = _silent

    def __enter__(self) -> Chain:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if "_client" in self.__dict__:
            self._client.close()

    def publish(self, step: str, date: str) -> Published:
        """Bring one step of one date up to date; a date that is already costs a few small reads."""
        links: dict[str, Callable[[], Published]] = {
            FILES: lambda: publish_files(self.spec, date, self.place, self.run_id),
            SHIPMENTS: lambda: publish_shipments(
                self.spec, date, self.place, self.run_id, isolate=self.isolate, force=self.force
            ),
            ENRICHED: lambda: self._enrichment(date).publish(),
            RESULTS: lambda: publish_results(self.spec, date, self.place, self.settings, self.run_id),
            SUMMARY: lambda: publish_summary(self.spec, date, self.place, self.run_id),
        }
        return retry_conflicts(links[step])

    def _enrichment(self, date: str) -> Enrichment:
        assert self.spec.rate_api is not None, "only a dataset with an API has this step"
        return Enrichment(
            self.spec,
            self.spec.rate_api,
            date,
            self.place,
            self.settings,
            self.run_id,
            self.ask_again,
            self.progress,
            self._client,
        )

    @cached_property
    def _client(self) -> HttpClient:
        # One for all dates of the run: the rate limit and the circuit are the API's, not a date's.
        assert self.spec.rate_api is not None, "only a dataset with an API asks"
        return HttpClient(self.spec.rate_api.limits, clock=lambda: datetime.now(UTC), uniform=random.random)
