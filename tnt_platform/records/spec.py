"""What a dataset of records is: the fields of its `defs.yaml`, and its steps."""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import Field

from tnt_platform.records.transforms.records import JmesPath, RecordMapping
from tnt_platform.specs.dataset import DatasetSpec
from tnt_platform.specs.fields import Cron, Headers, Unit, WebUrl, WithVariables
from tnt_platform.specs.spec import Spec

CAPTURE, RECORDS, SUMMARY = "capture", "records", "summary"
STEPS = (CAPTURE, RECORDS, SUMMARY)
RECORD_KEY = ("id",)
# Partitions of the records without rows: the captures of a day that were curated, and what they had rejected.
CAPTURED = "captured="
# The one partition of `<dataset>/summary`.
WHOLE = "whole"


class RecordsSource(Spec):
    """The API that is asked."""

    url: Annotated[WebUrl, Field(description="Address that answers with the items as JSON.")]
    headers: Annotated[Headers, Field(description="Headers of the request; secrets as `${VARIABLES}`.")] = (
        Field(default_factory=dict, repr=False)
    )
    max_size_mb: Annotated[
        float, Field(gt=0, le=2_000, description="Largest response that is taken."), Unit("MB")
    ] = 100
    timeout_s: Annotated[
        float, Field(gt=0, description="Longest wait for the response."), Unit("seconds")
    ] = 60

    @property
    def max_size_bytes(self) -> int:
        """The largest response, in bytes."""
        return int(self.max_size_mb * 1_000_000)


class RecordsSpec(RecordMapping, DatasetSpec):
    """Records of a JSON API: its response is captured, and every item it ever showed is published."""

    source: Annotated[RecordsSource, Field(description="The API that is asked.")]
    items: Annotated[
        JmesPath, Field(description="Where the response has its list of items, as a JMESPath.")
    ] = "@"
    count: Annotated[
        JmesPath | None,
        Field(
            description="Where the response gives the number of its items; another number rejects it whole."
        ),
    ] = None
    queue: Annotated[
        WithVariables,
        Field(description="SQS queue that is notified of each new capture; none if it is empty."),
    ] = "${TNT_CAPTURE_QUEUE_URL:-}"
    dynamodb_table: Annotated[
        WithVariables,
        Field(description="DynamoDB table for readers that need single records; none if it is empty."),
    ] = "${TNT_RECORDS_TABLE:-}"
    cron: Annotated[Cron | None, Field(description="When the API is asked (UTC).")] = None

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps in the order in which they build on each other."""
        return STEPS

    def dataset(self, step: str) -> str:
        """The id of a step in the lake; the records are the dataset itself."""
        return self.name if step == RECORDS else f"{self.name}/{step}"

    @property
    def recipe(self) -> str:
        """A fingerprint of everything declared that decides what records a capture gives.

        Its text is that of the first release: another one would curate every capture again.
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
