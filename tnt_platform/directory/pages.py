"""Step `<dataset>/pages`: capture every page of the API, and publish them if together they are the whole directory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from tnt_platform.directory.spec import NEWEST, PAGES, DirectorySource, DirectorySpec
from tnt_platform.directory.transforms.pages import (
    Page,
    PageFault,
    Problem,
    completeness,
    is_whole,
    read_page,
)
from tnt_platform.errors import InvalidInput, PermanentError, Refused, TntError, Unavailable
from tnt_platform.lake.publishing import (
    CheckOutcome,
    Published,
    Workspace,
    as_ledger,
    publish_checked,
    unique_keys,
)
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.lake.versions import PartitionChange, RowCounts
from tnt_platform.services.http import HttpClient, HttpLimits, HttpRequest, HttpResponse
from tnt_platform.services.http_attempts import secret_values
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects

PAGE_COLUMNS: dict[str, pl.DataType] = {
    "page": pl.Int64(),
    "object_key": pl.String(),
    "sha256": pl.String(),
    "size_bytes": pl.Int64(),
    "records": pl.Int64(),
    "total_records": pl.Int64(),
    "total_pages": pl.Int64(),
}
PAGE_KEY = ("page",)

_NOT_FOUND = 404
_PROBLEMS_LISTED = 5
_SECRET_CHARS_MIN = 4  # hiding shorter ones would make ordinary text unreadable
_REFUSAL_HINTS = {
    401: "; check the headers and cookies of `source`",
    403: "; check the headers and cookies of `source`",
    404: "; check `source.url`",
}


def page_limits(source: DirectorySource) -> HttpLimits:
    """Limit the client that `publish_pages` uses to what the source allows."""
    return HttpLimits(
        concurrency=source.concurrency,
        rate_per_s=1 / source.pause_s if source.pause_s else None,
        timeout_s=source.timeout_s,
        attempts=source.attempts,
        max_response_bytes=source.max_page_bytes,
    )


def publish_pages(
    spec: DirectorySpec, workspace: Workspace, settings: Settings, client: HttpClient, *, run_id: str
) -> Published:
    """Read all pages, and publish them if they are the whole directory and differ from the published ones.

    The bodies are stored under their hash before the rows that name them, so a crash in between leaves nothing to
    clean up. Pages that changed while they were read are read again, up to `source.readings` times in all. A uniqueId
    at the same two places in two consecutive readings is a fault of the source, not a change, and is accepted with a
    warning. Rows: PAGE_COLUMNS.

    Raises:
        Unavailable: a page cannot be fetched for now, or the directory kept changing.
        Refused: the API rejects the request, for example the credentials.
        InvalidInput: a page is too large or cannot be read, or the API contradicts itself in every reading.
        ConfigError: a variable of the source is not set.
    """
    base = workspace.store.current(spec.dataset(PAGES))
    reading = _PageReader(spec, settings, client).read_whole()
    rows = _rows(spec, reading)
    counts = RowCounts(rows_in=rows.height, published=rows.height)
    if base is not None and base.scan([NEWEST], columns=["page", "sha256"]).sort("page").collect().equals(
        rows.select("page", "sha256")
    ):
        unchanged = Published.unchanged(base, NEWEST)
        return unchanged.with_facts(reading.facts())
    _store(workspace.lake, base, rows, reading)
    change = PartitionChange(
        partition=NEWEST,
        data=rows,
        inputs=_ledger(rows),
        counts=counts,
        inputs_digest=hashlib.sha256("\n".join(rows["sha256"]).encode()).hexdigest(),
    )
    published = publish_checked(
        workspace,
        spec.dataset(PAGES),
        change,
        base=base,
        key=PAGE_KEY,
        checks=[unique_keys(PAGE_KEY, NEWEST), _ids_on_one_page(reading.problems)],
        run_id=run_id,
    )
    return published.with_facts(reading.facts())


def records_of(snapshot: Snapshot, lake: Objects) -> list[tuple[int, int, object]]:
    """Read every record of a version of `<dataset>/pages` as (page, position, JSON value); both numbers from 1.

    Raises:
        PermanentError: a stored page is not the one that was published.
    """
    rows = snapshot.scan([NEWEST]).sort("page").collect()
    records: list[tuple[int, int, object]] = []
    bodies = lake.get_many(rows["object_key"].to_list())
    for (key, body), (number, digest) in zip(bodies, rows.select("page", "sha256").iter_rows(), strict=True):
        page = read_page(body, number)
        if hashlib.sha256(body).hexdigest() != digest or isinstance(page, PageFault):
            raise PermanentError(
                f"{key} is no longer page {number} as {snapshot.dataset} {snapshot.version} published it: it was "
                f"overwritten or damaged; materialize {snapshot.dataset} again to capture it anew"
            )
        records += [(number, position, record) for position, record in enumerate(page.records, start=1)]
    return records


@dataclass
class _Reading:
    """One pass over the pages; `is_over` once there is no point in requesting more."""

    pages: dict[int, Page] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(repr=False, default_factory=dict)
    faults: list[PageFault] = field(default_factory=list)
    is_over: bool = False
    attempts: int = 0
    readings: int = 1
    problems: tuple[Problem, ...] = ()

    @property
    def last(self) -> int:
        """The number of the last page according to the first one; an empty directory has one empty page."""
        return max(1, self.pages[1].total_pages) if 1 in self.pages else 1

    def add(self, number: int, page: Page | PageFault, body: bytes) -> None:
        """Add one page, or the fault that came instead."""
        if isinstance(page, PageFault):
            self.faults.append(page)
            self.is_over = True
            return
        self.pages[number] = page
        self.bodies[number] = body
        # An empty page is the end whatever the totals say: wrong totals must not make us request pages for ever.
        self.is_over = self.is_over or (not page.records and number <= self.last)

    def with_problems(self) -> _Reading:
        """Find what contradicts these pages being the whole directory."""
        faults = [
            Problem(fault.reason_code, f"page {fault.number}: {fault.reason}")
            for fault in sorted(self.faults, key=lambda fault: fault.number)
        ]
        # Ignore pages behind the first empty one: which requests were in flight when it came is chance.
        end = min((number for number, page in self.pages.items() if not page.records), default=self.last + 1)
        pages = [page for number, page in self.pages.items() if number <= end]
        return replace(self, problems=tuple(faults or completeness(pages)))

    def facts(self) -> dict[str, object]:
        """Count what was read, for the asset's metadata."""
        return {
            "pages": self.last,
            "records": sum(len(page.records) for page in self.pages.values()),
            "bytes_read": sum(map(len, self.bodies.values())),
            "readings": self.readings,
            "request_attempts": self.attempts,
            "ids_on_two_pages": len(self.problems),
        }


class _PageReader:
    """Fetches the pages of one directory."""

    def __init__(self, spec: DirectorySpec, settings: Settings, client: HttpClient) -> None:
        source = spec.source
        self._dataset = spec.dataset(PAGES)
        self._source = source
        self._client = client
        self._url = settings.resolve(source.url)
        cookies = {name: settings.resolve(value) for name, value in source.cookies.items()}
        self._headers = {name: settings.resolve(value) for name, value in source.headers.items()}
        if cookies:
            self._headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        # The client hides whole headers in its failures, but servers may echo a single cookie, and pages anything.
        self._secrets = [*cookies.values(), *secret_values(self._headers)]
        if self._url != source.url:
            self._secrets.append(self._url)

    def read_whole(self) -> _Reading:
        """Read the directory until a reading is whole, at most `source.readings` times."""
        attempts = 0
        before: tuple[Problem, ...] | None = None
        for number in range(1, self._source.readings + 1):
            reading = self._read().with_problems()
            attempts += reading.attempts
            if is_whole(reading.problems, before):
                return replace(reading, readings=number, attempts=attempts)
            if number < self._source.readings:
                before = reading.problems
        raise self._not_whole(reading, before)

    def _read(self) -> _Reading:
        reading = _Reading()

        def receive(response: HttpResponse) -> None:
            self._receive(reading, response)

        self._client.send_many([self._request(1)], on_response=receive)
        self._client.send_many(self._requests(reading, 2, reading.last), on_response=receive)
        # Request one page more, last of all: if it is empty, the directory really ends here.
        self._client.send_many(
            self._requests(reading, reading.last + 1, reading.last + 1), on_response=receive
        )
        return reading

    def _requests(self, reading: _Reading, first: int, last: int) -> Iterator[HttpRequest]:
        for number in range(first, last + 1):
            if reading.is_over:
                return
            yield self._request(number)

    def _request(self, number: int) -> HttpRequest:
        separator = "&" if "?" in self._url else "?"
        url = f"{self._url}{separator}page={number}&limit={self._source.page_size}"
        return HttpRequest(str(number), "GET", url, self._headers)

    def _receive(self, reading: _Reading, response: HttpResponse) -> None:
        number = int(response.request_id)
        reading.attempts += response.attempts
        if response.reason_code is None:
            body = response.body or b""
            page = read_page(body, number, self._source.page_size)
            if isinstance(page, PageFault):
                page = replace(page, reason=self._public(page.reason))
            reading.add(number, page, body)
        elif not (response.status == _NOT_FOUND and number > reading.last):
            raise self._failure(response, number, reading)

    def _failure(self, response: HttpResponse, number: int, reading: _Reading) -> TntError:
        code = response.reason_code
        place = f"page {number} of {reading.last}" if 1 in reading.pages else f"page {number}"
        message = f"cannot fetch {place}: {code}: {self._public(response.reason or '')}"
        if code == "too_large":
            hint = "; lower `source.page_size`, or raise `source.max_page_mb` if pages may be this large"
            return InvalidInput("too_large", self._unpublished(message + hint))
        if code == "refused":
            return Refused(self._unpublished(message + _REFUSAL_HINTS.get(response.status or 0, "")))
        return Unavailable(self._unpublished(message))

    def _not_whole(self, reading: _Reading, before: tuple[Problem, ...] | None) -> TntError:
        times = "once" if self._source.readings == 1 else f"{self._source.readings} times"
        problems = "; ".join(problem.message for problem in reading.problems[:_PROBLEMS_LISTED])
        if len(reading.problems) > _PROBLEMS_LISTED:
            problems += f"; and {len(reading.problems) - _PROBLEMS_LISTED} more problems"
        code = reading.problems[0].code
        if reading.faults and code != "html_instead_of_json":
            return InvalidInput(
                code, self._unpublished(f"the pages were read {times}, the last time with {problems}")
            )
        if reading.problems == before and not reading.faults:
            message = (
                f"the API contradicts itself (read {times}, the last two with the same result): {problems}"
            )
            return InvalidInput(code, self._unpublished(message))
        return Unavailable(
            self._unpublished(f"the pages were read {times} but never fitted together: {problems}")
        )

    def _unpublished(self, message: str) -> str:
        return f"{self._dataset}: {message}. Nothing was published; the previous version is unchanged"

    def _public(self, text: str) -> str:
        for secret in self._secrets:
            if len(secret) >= _SECRET_CHARS_MIN:
                text = text.replace(secret, "***")
        return text


def _rows(spec: DirectorySpec, reading: _Reading) -> pl.DataFrame:
    rows = []
    for number in range(1, reading.last + 1):
        page, body = reading.pages[number], reading.bodies[number]
        digest = hashlib.sha256(body).hexdigest()
        key = f"captures/{spec.name}/{digest}.json"
        rows.append((number, key, digest, len(body), len(page.records), page.total_records, page.total_pages))
    return pl.DataFrame(rows, schema=PAGE_COLUMNS, orient="row")


def _store(lake: Objects, base: Snapshot | None, rows: pl.DataFrame, reading: _Reading) -> None:
    stored = set(base.scan([NEWEST], columns=["object_key"]).collect()["object_key"]) if base else set()
    for number, key in rows.select("page", "object_key").iter_rows():
        if key not in stored and not lake.exists(key):
            lake.put(key, reading.bodies[number])


def _ledger(rows: pl.DataFrame) -> pl.DataFrame:
    return as_ledger(
        rows.select(
            pl.col("object_key").alias("key"),
            "size_bytes",
            "sha256",
            pl.lit("accepted").alias("status"),
            pl.col("records").alias("rows_in"),
            pl.col("records").alias("rows_out"),
            pl.lit(0, pl.Int64).alias("rows_quarantined"),
        )
    )


def _ids_on_one_page(problems: Sequence[Problem]) -> CheckOutcome:
    """Warn about ids on two pages; the next step deduplicates or quarantines their records."""
    description = f"{len(problems)} uniqueIds are on two pages" if problems else "no uniqueId is on two pages"
    sample = pl.DataFrame({"problem": [problem.message for problem in problems[:10]]})
    return CheckOutcome(
        "ids_on_one_page", not problems, description, sample if problems else None, blocking=False
    )
