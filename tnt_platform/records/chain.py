"""Run the steps of a dataset of records in order."""

from __future__ import annotations

import random  # noqa: TID251  (jitter between retries only; no result depends on it)
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

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
    """One dataset, where it lives, and how this run goes about it; leave it to close its connections.

    `by_hand` goes on although the dataset was rolled back. No lease is needed: two runs at once are sorted out by the
    pointers, and a capture that both took is curated once.
    """

    spec: RecordsSpec
    workspace: Workspace
    settings: Settings
    run_id: str = ""
    by_hand: bool = False

    def __enter__(self) -> RecordsChain:
        return self

    def __exit__(self, *_: object) -> None:
        if "_downloader" in self.__dict__:
            self._downloader.close()

    def publish(self, step: str) -> Published:
        """Bring one step up to date; one that is already costs a few small reads."""
        publishers: dict[str, Callable[[], Published]] = {
            CAPTURE: self._capture,
            RECORDS: self._records,
            SUMMARY: lambda: publish_summary(self.spec, self.workspace, self.run_id),
        }
        return retry_conflicts(publishers[step])

    def _capture(self) -> Published:
        published = publish_capture(
            self.spec, self.workspace, self.settings, self._downloader, run_id=self.run_id
        )
        queue = open_queue(self.spec, self.settings)
        told = announce_captures(self.spec, self.workspace, published.snapshot, queue)
        return published.with_facts({"messages_sent": told}) if queue else published

    def _records(self) -> Published:
        published = publish_records(self.spec, self.workspace, run_id=self.run_id, by_hand=self.by_hand)
        facts = upsert_records(self.spec, self.workspace, self.settings)
        if queue := open_queue(self.spec, self.settings):
            facts["messages_settled"] = settle_messages(self.workspace, queue)
        return published.with_facts(facts)

    @cached_property
    def _downloader(self) -> Downloader:
        source = self.spec.source
        limits = DownloadLimits(max_bytes=source.max_size_bytes, timeout_s=source.timeout_s)
        return Downloader(limits, clock=self.workspace.clock, uniform=random.random)
