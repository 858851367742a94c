"""The steps of a dataset of records, in order."""

from __future__ import annotations

import random  # noqa: TID251  (jitter between retries only; no result depends on it)
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from tnt_platform.lake.guard_rails import NO_OVERRIDES, Overrides
from tnt_platform.lake.publishing import Published, Workspace, retry_conflicts
from tnt_platform.records.capture import publish_capture
from tnt_platform.records.curation import publish_records
from tnt_platform.records.messages import announce_captures, open_queue, settle_messages
from tnt_platform.records.sink import upsert_records
from tnt_platform.records.spec import CAPTURE, RECORDS, SUMMARY, RecordsSpec
from tnt_platform.records.summary import publish_summary
from tnt_platform.services.download import Downloader, DownloadLimits
from tnt_platform.settings import Settings


@dataclass(frozen=True)
class RecordsChain:
    """One run of a dataset; a context manager that closes its connections.

    `by_hand` publishes although the dataset is paused after a rollback. No lease is needed: the pointers serialize
    concurrent runs, and a capture that two runs see is curated once.
    """

    spec: RecordsSpec
    workspace: Workspace
    settings: Settings
    run_id: str = ""
    overrides: Overrides = NO_OVERRIDES
    by_hand: bool = False

    def __enter__(self) -> RecordsChain:
        return self

    def __exit__(self, *_: object) -> None:
        if "_downloader" in self.__dict__:
            self._downloader.close()

    def publish(self, step: str) -> Published:
        """Bring one step up to date; a step that is up to date costs a few small reads."""
        steps: dict[str, Callable[[], Published]] = {
            CAPTURE: self._capture,
            RECORDS: self._records,
            SUMMARY: lambda: publish_summary(self.spec, self.workspace, self.run_id),
        }
        return retry_conflicts(steps[step])

    def _capture(self) -> Published:
        published = publish_capture(
            self.spec,
            self.workspace,
            self.settings,
            self._downloader,
            run_id=self.run_id,
            overrides=self.overrides,
        )
        if queue := open_queue(self.spec, self.settings):
            sent = announce_captures(self.spec, self.workspace, published.snapshot, queue)
            return published.with_facts({"messages_sent": sent})
        return published

    def _records(self) -> Published:
        published = publish_records(
            self.spec, self.workspace, run_id=self.run_id, overrides=self.overrides, by_hand=self.by_hand
        )
        facts = upsert_records(self.spec, self.workspace, self.settings)
        if queue := open_queue(self.spec, self.settings):
            facts["messages_settled"] = settle_messages(self.workspace, queue)
        return published.with_facts(facts)

    @cached_property
    def _downloader(self) -> Downloader:
        source = self.spec.source
        limits = DownloadLimits(max_bytes=source.max_size_bytes, timeout_s=source.timeout_s)
        return Downloader(limits, clock=self.workspace.clock, uniform=random.random)
