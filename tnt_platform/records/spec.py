"""The settings of a dataset of records (its `defs.yaml`), and its steps."""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import Field

from tnt_platform.records.transforms.records import RecordMapping
from tnt_platform.specs.dataset import DatasetSpec
from tnt_platform.specs.fields import Cron, Headers, JmesPath, Unit, WebUrl, WithVariables
from tnt_platform.specs.paging import CountedAnswer, PagedSource

CAPTURE, RECORDS, SUMMARY = "capture", "records", "summary"
STEPS = (CAPTURE, RECORDS, SUMMARY)
RECORD_KEY = ("id",)
# Prefix of the partitions of the records that hold no rows, but the ledger and quarantine of one day's captures.
CAPTURED_DAY = "captured="
SUMMARY_PARTITION = "whole"


class RecordsSource(PagedSource):
    """The API to poll."""

    url: Annotated[WebUrl, Field(description="URL whose response holds the items as JSON.")]
    headers: Annotated[Headers, Field(description="Request headers; write secrets as `${VARIABLES}`.")] = (
        Field(default_factory=dict, repr=False)
    )
    max_size_mb: Annotated[
        float, Field(gt=0, le=2_000, description="Largest response that is accepted."), Unit("MB")
    ] = 100
    timeout_s: Annotated[float, Field(gt=0, description="Time limit for the response."), Unit("seconds")] = 60

    @property
    def max_size_bytes(self) -> int:
        """Return the largest accepted response in bytes."""
        return int(self.max_size_mb * 1_000_000)


class RecordsSpec(CountedAnswer, RecordMapping, DatasetSpec):
    """Records of a JSON API: capture its responses and publish every item they ever held."""

    source: Annotated[RecordsSource, Field(description="The API to poll.")]
    items: Annotated[JmesPath, Field(description="JMESPath of the list of items in the response.")] = "@"
    max_rejected_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="A response is rejected whole if a larger share of its items is invalid: by default, if one "
            "is. `--accept-rejected` publishes the others once.",
        ),
        Unit("share, 0 to 1"),
    ] = 0.0
    queue: Annotated[
        WithVariables,
        Field(description="SQS queue to notify of each new capture; empty for none."),
    ] = "${TNT_CAPTURE_QUEUE_URL:-}"
    dynamodb_table: Annotated[
        WithVariables,
        Field(description="DynamoDB table for readers that need single records; empty for none."),
    ] = "${TNT_RECORDS_TABLE:-}"
    cron: Annotated[Cron | None, Field(description="When to poll the API (UTC).")] = None

    @property
    def steps(self) -> tuple[str, ...]:
        """Return the steps in order."""
        return STEPS

    def dataset(self, step: str) -> str:
        """Return the lake id of a step; the records have the dataset's own name."""
        return self.name if step == RECORDS else f"{self.name}/{step}"

    @property
    def recipe(self) -> str:
        """Return a fingerprint of the settings that decide which records a capture yields.

        The hashed text keeps the form of the first release; any other would curate every capture again.
        """
        fields = ", ".join(
            f"RecordField(name={one.name!r}, path={one.where!r}, type={one.type!r}, required={one.required!r})"
            for one in self.fields
        )
        comma = "," if len(self.fields) == 1 else ""
        text = (
            f"(ItemsLayout(items={self.items!r}, count={self.count!r}), "
            f"RecordMapping(source={self.name!r}, item_id={self.item_id!r}, fields=({fields}{comma})))"
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]
