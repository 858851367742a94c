"""The steps of a transit dataset, in order."""

from __future__ import annotations

import random  # noqa: TID251  (jitter between retries only; no result depends on it)
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

from tnt_platform.lake.guard_rails import NO_OVERRIDES, Overrides
from tnt_platform.lake.publishing import Published, Workspace, retry_conflicts
from tnt_platform.services.http import HttpClient
from tnt_platform.settings import Settings
from tnt_platform.transit.enrichment import AskAgain, Enrichment
from tnt_platform.transit.files import publish_files
from tnt_platform.transit.results import publish_results, publish_summary
from tnt_platform.transit.shipments import publish_shipments
from tnt_platform.transit.spec import ENRICHED, FILES, RESULTS, SHIPMENTS, SUMMARY, TransitSpec


@dataclass(frozen=True)
class Chain(AbstractContextManager["Chain"]):
    """One dataset, where it lives, and the options of this run; leave it to close its connections.

    `isolate` reads each file in a process of its own; `force` reads files again although nothing
    changed; `ask_again` repeats API requests: those of quarantined cases, or all.
    """

    spec: TransitSpec
    workspace: Workspace
    settings: Settings
    run_id: str = ""
    isolate: bool = False
    force: bool = False
    ask_again: AskAgain = "none"
    overrides: Overrides = NO_OVERRIDES
    progress: Callable[[str], None] = lambda message: None

    def __exit__(self, *_: object) -> None:
        if "_client" in self.__dict__:
            self._client.close()

    def publish(self, step: str, date: str) -> Published:
        """Bring one step of one date up to date; if it is already, this costs a few small reads."""
        publishers: dict[str, Callable[[], Published]] = {
            FILES: lambda: publish_files(self.spec, date, self.workspace, self.run_id),
            SHIPMENTS: lambda: publish_shipments(
                self.spec,
                date,
                self.workspace,
                self.run_id,
                isolate=self.isolate,
                force=self.force,
                overrides=self.overrides,
            ),
            ENRICHED: lambda: self._enrichment(date).publish(),
            RESULTS: lambda: publish_results(self.spec, date, self.workspace, self.settings, self.run_id),
            SUMMARY: lambda: publish_summary(self.spec, date, self.workspace, self.run_id),
        }
        return retry_conflicts(publishers[step])

    def _enrichment(self, date: str) -> Enrichment:
        assert self.spec.rate_api is not None, "only a dataset with an API has this step"
        return Enrichment(
            self.spec,
            self.spec.rate_api,
            date,
            self.workspace,
            self.settings,
            self.run_id,
            self.ask_again,
            self.progress,
            self._client,
        )

    @cached_property
    def _client(self) -> HttpClient:
        # One for all dates of the run: the rate limit and the circuit breaker are the API's, not a date's.
        assert self.spec.rate_api is not None, "only a dataset with an API sends requests"
        return HttpClient(self.spec.rate_api.limits, clock=self.workspace.clock, uniform=random.random)
