"""A dataset of records, an API that a test changes, and a lake: the chain driven without Dagster."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tnt_platform.lake.publishing import Published, Workspace
from tnt_platform.lake.versions import Snapshot, VersionedStore
from tnt_platform.records.chain import RecordsChain
from tnt_platform.records.spec import RecordsSpec
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects

POSTS: Mapping[str, Any] = {
    "source": {"url": "${POSTS_URL}"},
    "item_id": "id",
    "fields": [{"name": "userId", "type": "integer"}, {"name": "title"}, {"name": "body"}],
}
USERS: Mapping[str, Any] = {
    "source": {"url": "${USERS_URL}"},
    "items": "results",
    "count": "info.results",
    "item_id": "login.uuid",
    "fields": [
        {"name": "name", "path": "join(' ', [name.first, name.last])"},
        {"name": "email"},
        {"name": "country", "path": "location.country"},
        {"name": "gender"},
    ],
}


def records_spec(kind: Mapping[str, Any] = POSTS, name: str = "posts", **changes: object) -> RecordsSpec:
    """A dataset as its YAML would say it."""
    return RecordsSpec.model_validate({**kind, **changes}).placed_in(Path(name))


def with_source(spec: RecordsSpec, **changes: object) -> RecordsSpec:
    """The same dataset, its source declared otherwise."""
    return spec.model_copy(update={"source": spec.source.model_copy(update=changes)})


@dataclass
class RecordsScene:
    """Where a test's dataset lives; each `run` takes place five minutes after the one before."""

    folder: Path
    url: str
    spec: RecordsSpec = field(default_factory=records_spec)
    environment: Mapping[str, str] = field(default_factory=dict)
    raw: Objects | None = None
    now: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def __post_init__(self) -> None:
        self.raw = self.raw or Objects.open((self.folder / "raw").as_uri())
        self.lake = Objects.open((self.folder / "lake").as_uri())
        addresses = {"POSTS_URL": f"{self.url}/posts", "USERS_URL": f"{self.url}/api/?results=10"}
        self.settings = Settings.from_environment(
            {"TNT_HOME": str(self.folder), **addresses, **self.environment}
        )
        self._random = random.Random(7)

    @property
    def workspace(self) -> Workspace:
        assert self.raw is not None
        store = VersionedStore(
            self.lake,
            clock=lambda: self.now,
            entropy=self._random.randbytes,
            code_version="test",
            scratch=self.folder / "scratch",
            sleep=lambda _: None,
        )
        return Workspace(self.raw, self.lake, store, self.folder / "scratch")

    def run(self, *steps: str, **options: Any) -> dict[str, Published]:
        """All steps, or those given, in order."""
        self.now += timedelta(minutes=5)
        chain = RecordsChain(self.spec, self.workspace, self.settings, run_id="test", **options)
        with chain:
            return {step: chain.publish(step) for step in steps or self.spec.steps}

    def current(self, step: str = "records") -> Snapshot:
        snapshot = self.workspace.store.current(self.spec.dataset(step))
        assert snapshot is not None
        return snapshot

    def rows(self, step: str = "records") -> pl.DataFrame:
        """What is published of a step."""
        return self.current(step).scan().collect()

    def versions(self, step: str = "records") -> int:
        return self.workspace.store.versions(self.spec.dataset(step)).height

    def raw_keys(self) -> list[str]:
        assert self.raw is not None
        return self.raw.list("raw/")["key"].to_list()
