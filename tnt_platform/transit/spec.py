"""What a transit dataset is: the fields of its `defs.yaml`, and its steps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from tnt_platform.discovery.raw_source import RESERVED_GROUPS, OnDelete, OnOverwrite, RawSource
from tnt_platform.readers.column import ColumnSpec
from tnt_platform.settings import Settings
from tnt_platform.specs.dataset import DatedDatasetSpec, SensorSpec
from tnt_platform.specs.fields import Headers, IsoDate, Unit, WebUrl, WithVariables, listed, meant
from tnt_platform.specs.spec import Mistake, Spec, mistake, rule
from tnt_platform.transit.layouts import FileKind, FileLayout, hides
from tnt_platform.transit.request_file import request_mistakes
from tnt_platform.transit.transforms.answers import AnswerText
from tnt_platform.transit.transforms.cases import PassRule

if TYPE_CHECKING:
    from tnt_platform.services.http import HttpLimits

FILES = "shipper_files"
SHIPMENTS = "shipments"
ANSWERS = "answers"
ENRICHED = "enriched_shipments"
RESULTS = "results"
SUMMARY = "daily_summary"

# The longest promise any carrier publishes is well below this; a larger number is a wrong column.
MAX_TRANSIT_DAYS = 365
SHIPPER_ID = "shipper_id"

# Columns that later steps add; a column of the file with such a name would be replaced or rejected there.
ADDED_ALWAYS = frozenset({"test_id", "lag_days", "status", "success"})
ADDED_BY_API = frozenset(
    {
        "actual_transit_days",
        "api_url",
        "asked_at",
        "attempts",
        "expected_delivery_date",
        "fault",
        "reason",
        "reason_code",
        "request_id",
        "request_payload",
        "response_payload",
        "ship_date",
        "ship_profile",
        "shipper_sha256",
        "time_taken_ms",
        "timestamp",
    }
)
# Fields that a request may use besides the columns of the file.
GIVEN_FIELDS = frozenset(
    {
        "api_url",
        "expected_delivery_date",
        "file_key",
        "line_no",
        "ship_date",
        "ship_profile",
        "shipper_sha256",
    }
)
# What the comparison computes with, and the types it can compute with.
NEEDED_WITH_API: Mapping[str, tuple[str, ...]] = {"expected_transit_days": ("days", "integer", "number")}
NEEDED_WITHOUT_API: Mapping[str, tuple[str, ...]] = {"expected_date": ("date",), "actual_date": ("date",)}


class TransitSource(RawSource):
    """Where shipper files arrive, and what an overwritten, deleted or repeated one means."""

    on_overwrite: Annotated[
        OnOverwrite,
        Field(
            description="`latest` reads an overwritten file again; `reject` keeps the rows of its first content."
        ),
    ] = "latest"
    on_delete: Annotated[
        OnDelete,
        Field(description="`keep` leaves the rows of a file that was deleted; `remove` withdraws them."),
    ] = "keep"
    same_file_again: Annotated[
        Literal["read", "skip"],
        Field(
            description="What the same content under another name or date is: rows of its own (`read`), "
            "or duplicates that are counted and not published (`skip`)."
        ),
    ] = "read"


def _beside_the_yaml(text: str) -> str:
    if Path(text).is_absolute() or ".." in Path(text).parts:
        raise mistake(f"{text} is outside the dataset's folder", "a file beside the YAML", "move it there")
    return text


class RateApi(Spec):
    """The API that says how many days a shipment takes."""

    url: Annotated[WebUrl, Field(description="The address that `{api_url}` stands for in the request.")]
    request: Annotated[
        str,
        AfterValidator(_beside_the_yaml),
        Field(description="The file beside the YAML that holds the request."),
    ] = "request.json"
    headers: Annotated[
        Headers,
        Field(description="Headers of each request, added to those of the request file; never stored."),
    ] = Field(default_factory=dict)
    answer: Annotated[
        AnswerText,
        Field(
            description="JMESPath expression that finds the days in a response: `{rates: ..., ground: ..., "
            "days: ...}`, or the days alone."
        ),
    ]
    reference: Annotated[
        str | None,
        Field(
            description="Key of a CSV in the raw files that describes each shipper (column `shipper_id`); "
            "its columns are fields of the request."
        ),
    ] = None
    concurrency: Annotated[
        int, Field(ge=1, le=512, description="Most requests at the same time."), Unit("requests")
    ] = 64
    rate_per_s: Annotated[
        float | None,
        Field(gt=0, description="Most requests in any second, retries included; no limit if left out."),
        Unit("requests per second"),
    ] = None
    timeout_s: Annotated[
        float,
        Field(gt=0, description="How long a request may take before it counts as failed."),
        Unit("seconds"),
    ] = 15
    attempts: Annotated[
        int,
        Field(ge=1, le=20, description="Attempts for each request; timeouts, 429 and 5xx are retried."),
        Unit("attempts"),
    ] = 5
    min_coverage: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Share of the cases that the API must answer, otherwise the date is not published.",
        ),
        Unit("of the cases"),
    ] = 0.95

    @cached_property
    def limits(self) -> HttpLimits:
        """How hard the HTTP client may press the API."""
        # The client is imported by who asks: validating a YAML needs none.
        from tnt_platform.services.http import HttpLimits

        return HttpLimits(
            concurrency=self.concurrency,
            rate_per_s=self.rate_per_s,
            timeout_s=self.timeout_s,
            attempts=self.attempts,
        )


class Sample(Spec):
    """Ask for some cases of each file instead of all, the same ones for the same seed."""

    rows: Annotated[int, Field(ge=1, description="Cases to ask for in each file."), Unit("cases")]
    seed: Annotated[int, Field(description="Decides which ones."), Unit("of your choice")]


class DynamoDb(Spec):
    """A table that live dashboards read."""

    table: Annotated[
        WithVariables, Field(description="Name of the table; nothing is written if it resolves to nothing.")
    ]
    payloads: Annotated[
        bool, Field(description="Whether items carry request and response too, at three times the cost.")
    ] = False
    ttl_days: Annotated[
        int, Field(ge=1, description="How long after their publish items expire."), Unit("days")
    ] = 90


class TransitSpec(DatedDatasetSpec):
    """Files of expected transit times, compared with the actual ones.

    With `rate_api` the actual days are asked for, case by case; without, `expected_date` and
    `actual_date` are columns of the file.
    """

    # A larger file would fill the memory alone.
    max_file_bytes: ClassVar[int] = 512 << 20

    start_date: Annotated[IsoDate, Field(description="First date that is published.")] = date(2020, 1, 1)
    source: Annotated[TransitSource, Field(description="Where files arrive.")]
    layouts: Annotated[
        tuple[FileLayout, ...],
        Field(min_length=1, description="The kinds of files, the narrowest glob first."),
    ]
    columns: Annotated[tuple[ColumnSpec, ...], Field(description="The columns that are published.")]
    identity: Annotated[
        tuple[str, ...],
        Field(
            min_length=1,
            description="Columns and groups of `key_pattern` that make two rows the same case. With `rate_api`, "
            "the ship date and the shipper's package are added.",
        ),
    ]
    passes_when: Annotated[
        PassRule,
        Field(
            description="Whether a case passes only on the promised day (`equal`) or early too (`not_late`)."
        ),
    ] = "equal"
    summary_by: Annotated[
        tuple[str, ...], Field(description="Columns to summarise by, each on its own, besides the total.")
    ] = ()
    rate_api: Annotated[
        RateApi | None,
        Field(description="The API to ask for actual days; left out where the files hold both dates."),
    ] = None
    sample_per_file: Annotated[
        Sample | None, Field(description="Ask for a sample of each file's cases; all of them if left out.")
    ] = None
    dynamodb: Annotated[
        DynamoDb | None, Field(description="The table to write results to, besides publishing them.")
    ] = None
    sensor: Annotated[SensorSpec, Field(description="How often the bucket is compared.")] = Field(
        default_factory=SensorSpec
    )

    @rule
    def _groups_have_free_names(self) -> Iterator[Mistake]:
        names, at = {column.name for column in self.columns}, ("source", "key_pattern")
        for group in self.source.fields:
            if group in names:
                wrong = f"key_pattern: the group {group} is also a column"
                yield Mistake(wrong, "each name once", "rename one of them", at)
            if group in (self._added_columns | {"line_no", "raw"}) - RESERVED_GROUPS:
                wrong = f"key_pattern: the platform itself adds a column {group}"
                yield Mistake(wrong, "a free name", f"rename the group, for example to key_{group}", at)

    @rule
    def _columns_have_free_names(self) -> Iterator[Mistake]:
        names = [column.name for column in self.columns if "name" in column.__dict__]
        for position, column in enumerate(self.columns):
            name, at = column.name, ("columns", position, "name")
            if name in names[:position]:
                yield Mistake(f"the column {name} is declared twice", "each name once", "delete one", at)
            if name in self._added_columns:
                wrong = f"the platform itself adds a column {name}"
                yield Mistake(wrong, "a free name", f"choose another name, such as file_{name}", at)
            if column.notes and column.note_name in names:
                wrong = f"the notes of {name} are published as {column.note_name}, which is declared too"
                yield Mistake(wrong, "a free name", "rename that column", at=("columns", position, "notes"))

    @rule
    def _columns_to_compare_are_there(self) -> Iterator[Mistake]:
        needed, how = (NEEDED_WITHOUT_API, "without") if self._asks_no_api else (NEEDED_WITH_API, "with")
        places = {column.name: position for position, column in enumerate(self.columns)}
        for name, types in needed.items():
            if name not in places:
                fix = f"add `- {{name: {name}, type: {types[0]}, required: true}}`"
                wrong = f"the column {name} is missing"
                yield Mistake(wrong, f"it in a dataset {how} rate_api", fix, at=("columns",))
                continue
            column, at = self.columns[places[name]], ("columns", places[name])
            if not column.required:
                wrong = f"the column {name} is optional"
                yield Mistake(wrong, f"it required {how} rate_api", "set required: true", (*at, "required"))
            if column.type not in types:
                wrong = f"the column {name} can't be computed with"
                yield Mistake(wrong, f"type {' or '.join(types)}", f"set type: {types[0]}", (*at, "type"))

    @rule
    def _layouts_place_the_declared_columns(self) -> Iterator[Mistake]:
        names = {column.name for column in self.columns}
        for position, layout in enumerate(self.layouts):
            for name in layout.columns:
                if name not in names:
                    wrong = f"layouts[{position}] places {name}, which is not declared"
                    fix = meant(name, names, "declare it below `columns`, or delete it here")
                    yield Mistake(
                        wrong, f"one of {listed(names)}", fix, ("layouts", position, "columns", name)
                    )

    @rule
    def _layouts_place_every_required_column(self) -> Iterator[Mistake]:
        for position, layout in enumerate(self.layouts):
            for column in self.columns:
                if column.required and column.name not in layout.columns:
                    wrong = f"layouts[{position}] leaves out the required column {column.name}"
                    fix = f"add `{column.name}: <position or header name>`"
                    at = ("layouts", position, "columns")
                    yield Mistake(wrong, "a place for each required column", fix, at)

    @rule
    def _each_column_is_in_some_layout(self) -> Iterator[Mistake]:
        placed = {name for layout in self.layouts for name in layout.columns}
        for position, column in enumerate(self.columns):
            if column.name not in placed and not column.required:
                wrong, fix = f"the column {column.name} is in no layout", "place it in a layout, or delete it"
                yield Mistake(wrong, "it in at least one", fix, ("columns", position), warning=True)

    @rule
    def _no_layout_hides_another(self) -> Iterator[Mistake]:
        for (first, earlier), (position, later) in combinations(enumerate(self.layouts), 2):
            if hides(earlier.files.lower(), later.files.lower()):
                wrong = (
                    f"{later.files} is never used: {earlier.files} of layouts[{first}] takes all its files"
                )
                fix = "move this layout up, or delete it"
                yield Mistake(wrong, "the narrower glob first", fix, ("layouts", position, "files"))

    @rule
    def _identity_is_known(self) -> Iterator[Mistake]:
        yield from self._unknown_names("identity", self.identity)

    @rule
    def _summary_is_known(self) -> Iterator[Mistake]:
        yield from self._unknown_names("summary_by", self.summary_by)

    def _unknown_names(self, option: str, names: Sequence[str]) -> Iterator[Mistake]:
        known = {column.name for column in self.columns} | set(self.source.fields)
        for position, name in enumerate(names):
            at = (option, position)
            if name in names[:position]:
                yield Mistake(f"{option}: {name} occurs twice", "each name once", "delete one of them", at)
            elif name not in known:
                fix = meant(
                    name, known, "declare it below `columns`, or as a group (?P<name>...) of key_pattern"
                )
                if name == "date":
                    fix = "delete it: the date is the partition of every row"
                wrong = f"{option}: {name} is neither a column nor part of the key"
                yield Mistake(wrong, f"a column or a group of key_pattern: {listed(known)}", fix, at)

    @rule
    def _a_sample_is_asked_for(self) -> Iterator[Mistake]:
        if self._asks_no_api and self.sample_per_file is not None:
            wrong = "sample_per_file has no effect"
            yield Mistake(wrong, "it together with rate_api", "delete it", at=("sample_per_file",))

    @rule
    def _shippers_can_be_looked_up(self) -> Iterator[Mistake]:
        known = {column.name for column in self.columns} | set(self.source.fields)
        if self.rate_api is not None and self.rate_api.reference and SHIPPER_ID not in known:
            wrong = f"no row has a {SHIPPER_ID} to look up in the reference"
            fix = f"add the group (?P<{SHIPPER_ID}>...) to key_pattern, or a column {SHIPPER_ID}"
            yield Mistake(wrong, f"{SHIPPER_ID} in key_pattern", fix, at=("rate_api", "reference"))

    def mistakes_beside(self, settings: Settings) -> Iterator[Mistake]:
        """What is wrong in the request file."""
        if self.rate_api is not None:
            has_reference = bool(self.rate_api.reference)
            yield from request_mistakes(self.request_path, self._request_fields, has_reference, settings)

    @property
    def _asks_no_api(self) -> bool:
        # An API that is declared and wrong is absent from a salvaged spec.
        return self.__dict__.get("rate_api", ...) is None

    @property
    def _added_columns(self) -> frozenset[str]:
        return ADDED_ALWAYS if self._asks_no_api else ADDED_ALWAYS | ADDED_BY_API

    @property
    def _request_fields(self) -> Collection[str]:
        notes = {column.note_name for column in self.columns if column.notes}
        return {*(column.name for column in self.columns), *self.source.fields, *notes, *GIVEN_FIELDS}

    @property
    def request_path(self) -> Path:
        """The file that holds the request."""
        assert self.rate_api is not None, "only a dataset with an API has requests"
        return self.folder / self.rate_api.request

    @property
    def steps(self) -> tuple[str, ...]:
        """The published steps in order; the sensor compares the bucket with the last one."""
        enriched = (ENRICHED,) if self.rate_api else ()
        return (FILES, SHIPMENTS, *enriched, RESULTS, SUMMARY)

    def dataset(self, step: str) -> str:
        """The id of a step's published dataset, `<dataset>/<step>`."""
        return f"{self.name}/{step}"

    @cached_property
    def file_kinds(self) -> tuple[FileKind, ...]:
        """The layouts with the dataset's columns in their places."""
        return tuple(layout.with_columns(self.columns) for layout in self.layouts)

    def kind_of(self, key: str) -> FileKind | None:
        """The first kind of file that fits the key, or None."""
        return next((kind for kind in self.file_kinds if kind.fits(key)), None)

    @cached_property
    def parse_recipe(self) -> str:
        """A fingerprint of everything that decides how a file is read: a change of it reads the file again."""
        read_by = [
            (
                kind.files,
                kind.layout.as_recipe,
                [column.model_dump(mode="json") for column in kind.columns],
            )
            for kind in self.file_kinds
        ]
        text = json.dumps([read_by, self.source.whole_key.pattern], sort_keys=True, default=_in_one_order)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _in_one_order(value: object) -> object:
    """A set as JSON. Its own order differs between processes: with it, every run would read every file again."""
    return sorted(map(repr, value)) if isinstance(value, frozenset) else str(value)
