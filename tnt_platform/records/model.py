"""What the `defs.yaml` of a dataset of records may say: strict, every field explained."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import dagster as dg
import jmespath
import jmespath.exceptions
from pydantic import AfterValidator, Field

from tnt_platform.records.spec import RecordsSource
from tnt_platform.records.transforms.records import RECORD, FieldType, RecordField

TAKEN = frozenset({*RECORD, "partition", "last_seen_at"})


def _path(text: str) -> str:
    try:
        jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        said = " ".join(str(error).split())
        raise ValueError(
            f"{text!r} is not a JMESPath: {said}; expected a path such as login.uuid; mend that place"
        ) from error
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text):
        raise ValueError(
            f"{text!r} can't be a field; expected a letter, then letters, digits and _; rename it"
        )
    if text in TAKEN:
        raise ValueError(f"{text!r} is a column of every record; expected another name; rename the field")
    return text


JmesPath = Annotated[str, AfterValidator(_path)]
FieldName = Annotated[str, AfterValidator(_name)]


class RecordsSourceModel(dg.Model, dg.Resolvable):
    """The API: `url` and `headers` may hold `${VARIABLES}`."""

    url: str
    headers: Mapping[str, str] = Field(default_factory=dict)
    max_size_mb: Annotated[float, Field(gt=0, le=2_000)] = 100
    timeout_s: Annotated[float, Field(gt=0)] = 60


class RecordFieldModel(dg.Model, dg.Resolvable):
    """One column: its type, and where an item has it (a JMESPath; its name by default).

    `required` refuses an item without it.
    """

    name: FieldName
    path: JmesPath | None = None
    type: FieldType = "text"
    required: bool = False


def source_of(model: RecordsSourceModel) -> RecordsSource:
    """The source as the flow knows it."""
    return RecordsSource(
        url=model.url,
        headers=dict(model.headers),
        max_size_bytes=int(model.max_size_mb * 1_000_000),
        timeout_s=model.timeout_s,
    )


def fields_of(models: Sequence[RecordFieldModel]) -> tuple[RecordField, ...]:
    """The fields of a record, in the order of the YAML."""
    return tuple(RecordField(one.name, one.path or one.name, one.type, one.required) for one in models)
