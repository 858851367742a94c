"""`<dataset>/pages`: every page of the API as it came, published when together they are the whole directory."""

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
    Place,
    Published,
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
_SHOWN_PROBLEMS = 5
_SHORTEST_SECRET = 4  # shorter ones would blot out ordinary text
_REFUSAL_HINTS = {
    401: "; check the headers and cookies of `source`",
    403: "; check the headers and cookies of `source`",
    404: "; check `source.url`",
}


def page_limits(source: DirectorySource) -> HttpLimits:
    """How hard the client that is given to `publish_pages` may press the API."""
    return HttpLimits(
        concurrency=source.concurrency,
        rate_per_s=1 / source.pause_s if source.pause_s else None,
        timeout_s=source.timeout_s,
        attempts=source.attempts,
        max_response_bytes=source.max_page_bytes,
    )


def publish_pages(
    spec: DirectorySpec, place: Place, settings: Settings, client: HttpClient, *, run_id: str
) -> Published:
    """Read all pages; a set that is whole and not the newest one is stored and becomes the newest.

    The bodies are stored before the rows that name them, under their hash, so a crash between leaves nothing to clean
    up. A set that changed while it was read is read again, `source.readings` times in all. A uniqueId that stays on
    the same two places in two readings in a row is no change but dirt, and is let through. Rows: PAGE_COLUMNS.

    Raises:
        Unavailable: a page can't be had for now, or the directory kept changing.
        Refused: the API says no, such as to our credentials.
        InvalidInput: a page is too large or can't be read, or the API contradicts itself in every reading.
        ConfigError: a variable of the source is not set.
    """
    base = place.store.current(spec.dataset(PAGES))
    found = _PageReader(spec, settings, client).read_whole()
    rows = _rows(spec, found)
    if base is not None and base.scan([NEWEST], columns=["page", "sha256"]).sort("page").collect().equals(
        rows.select("page", "sha256")
    ):
        counts = RowCounts(rows_in=rows.height, published=rows.height)
        same = Published(base.dataset, NEWEST, base, changed=False, counts=counts)
        return same.with_facts(found.facts())
    _store(place.lake, base, rows, found)
    change = PartitionChange(
        partition=NEWEST,
        data=rows,
        inputs=_ledger(rows),
        quarantine=pl.DataFrame(),
        counts=RowCounts(rows_in=rows.height, published=rows.height),
        inputs_digest=hashlib.sha256("\n".join(rows["sha256"]).encode()).hexdigest(),
    )
    published = publish_checked(
        place,
        base=base,
        dataset=spec.dataset(PAGES),
        change=change,
        key=PAGE_KEY,
        checks=[unique_keys(PAGE_KEY, NEWEST), _ids_on_one_page(found.problems)],
        run_id=run_id,
    )
    return published.with_facts(found.facts())


def records_of(snapshot: Snapshot, lake: Objects) -> list[tuple[int, int, object]]:
    """(page, position, JSON value) of every record of a version of `<dataset>/pages`, both numbers from 1.

    Raises:
        PermanentError: a stored page is not the one that was published.
    """
    rows = snapshot.scan([NEWEST]).sort("page").collect()
    found: list[tuple[int, int, object]] = []
    bodies = lake.get_many(rows["object_key"].to_list())
    for (key, body), (number, digest) in zip(bodies, rows.select("page", "sha256").iter_rows(), strict=True):
        page = read_page(body, number)
        if hashlib.sha256(body).hexdigest() != digest or isinstance(page, PageFault):
            raise PermanentError(
                f"{key} is not page {number} as {snapshot.dataset} {snapshot.version} published it: it was "
                "overwritten or damaged; read the directory again"
            )
        found += [(number, position, record) for position, record in enumerate(page.records, start=1)]
    return found


@dataclass
class _Reading:
    """One pass over the pages; `is_over` when further pages can't make it whole."""

    pages: dict[int, Page] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(repr=False, default_factory=dict)
    faults: list[PageFault] = field(default_factory=list)
    is_over: bool = False
    attempts: int = 0
    readings: int = 1
    problems: tuple[Problem, ...] = ()

    @property
    def last(self) -> int:
        """The last page by what the first one says; an empty directory has one empty page."""
        return max(1, self.pages[1].total_pages) if 1 in self.pages else 1

    def take(self, number: int, found: Page | PageFault, body: bytes) -> None:
        """Note what came for one page."""
        if isinstance(found, PageFault):
            self.faults.append(found)
            self.is_over = True
            return
        self.pages[number] = found
        self.bodies[number] = body
        # An empty page is the end, whatever the totals say: those that lie must not send us on for ever.
        self.is_over = self.is_over or (not found.records and number <= self.last)

    def judged(self) -> _Reading:
        """The same with its problems."""
        faults = [
            Problem(fault.reason_code, f"page {fault.number}: {fault.reason}")
            for fault in sorted(self.faults, key=lambda fault: fault.number)
        ]
        # What was under way when an empty page ended the reading would make its problems a matter of chance.
        end = min((number for number, page in self.pages.items() if not page.records), default=self.last + 1)
        pages = [page for number, page in self.pages.items() if number <= end]
        return replace(self, problems=tuple(faults or completeness(pages)))

    def facts(self) -> dict[str, object]:
        """What the UI shows of a whole reading."""
        return {
            "pages": self.last,
            "records": sum(len(page.records) for page in self.pages.values()),
            "bytes_read": sum(map(len, self.bodies.values())),
            "readings": self.readings,
            "request_attempts": self.attempts,
            "ids_on_two_pages": len(self.problems),
        }


class _PageReader:
    """Asks for the pages of one directory."""

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
        # The client redacts whole headers in failures; servers echo one cookie too, and pages echo anything.
        self._secrets = [*cookies.values(), *secret_values(self._headers)]
        if self._url != source.url:
            self._secrets.append(self._url)

    def read_whole(self) -> _Reading:
        """The first reading that is whole."""
        attempts = 0
        before: tuple[Problem, ...] | None = None
        for number in range(1, self._source.readings + 1):
            reading = self._read().judged()
            attempts += reading.attempts
            if is_whole(reading.problems, before):
                return replace(reading, readings=number, attempts=attempts)
            if number < self._source.readings:
                before = reading.problems
        raise self._never_whole(reading, before)

    def _read(self) -> _Reading:
        reading = _Reading()

        def take(answer: HttpResponse) -> None:
            self._take(reading, answer)

        self._client.send_many([self._request(1)], on_response=take)
        self._client.send_many(self._requests(reading, 2, reading.last), on_response=take)
        # One page more, asked for last: by being empty it proves that the end is the end.
        self._client.send_many(self._requests(reading, reading.last + 1, reading.last + 1), on_response=take)
        return reading

    def _requests(self, reading: _Reading, first: int, last: int) -> Iterator[HttpRequest]:
        for number in range(first, last + 1):
            if reading.is_over:
                return
            yield self._request(number)

    def _request(self, number: int) -> HttpRequest:
        joint = "&" if "?" in self._url else "?"
        url = f"{self._url}{joint}page={number}&limit={self._source.page_size}"
        return HttpRequest(str(number), "GET", url, self._headers)

    def _take(self, reading: _Reading, answer: HttpResponse) -> None:
        number = int(answer.request_id)
        reading.attempts += answer.attempts
        if answer.reason_code is None:
            body = answer.body or b""
            found = read_page(body, number, self._source.page_size)
            if isinstance(found, PageFault):
                found = replace(found, reason=self._public(found.reason))
            reading.take(number, found, body)
        elif not (answer.status == _NOT_FOUND and number > reading.last):
            raise self._failure(answer, number, reading)

    def _failure(self, answer: HttpResponse, number: int, reading: _Reading) -> TntError:
        place = f"page {number} of {reading.last}" if 1 in reading.pages else f"page {number}"
        said = f"{place} can't be had: {answer.reason_code}: {self._public(answer.reason or '')}"
        if answer.reason_code == "too_large":
            hint = "; lower `source.page_size`, or raise `source.max_page_mb` if that is right"
            return InvalidInput("too_large", self._unpublished(said + hint))
        if answer.reason_code == "refused":
            return Refused(self._unpublished(said + _REFUSAL_HINTS.get(answer.status or 0, "")))
        return Unavailable(self._unpublished(said))

    def _never_whole(self, reading: _Reading, before: tuple[Problem, ...] | None) -> TntError:
        times = "once" if self._source.readings == 1 else f"{self._source.readings} times"
        said = "; ".join(problem.message for problem in reading.problems[:_SHOWN_PROBLEMS])
        if len(reading.problems) > _SHOWN_PROBLEMS:
            said += f"; and {len(reading.problems) - _SHOWN_PROBLEMS} problems more"
        code = reading.problems[0].code
        if reading.faults and code != "html_instead_of_json":
            return InvalidInput(code, self._unpublished(f"read {times}, and still {said}"))
        if reading.problems == before and not reading.faults:
            text = f"the API contradicts itself, the same way in the last two of {times} read: {said}"
            return InvalidInput(code, self._unpublished(text))
        return Unavailable(self._unpublished(f"read {times}, and never whole: {said}"))

    def _unpublished(self, said: str) -> str:
        return f"{self._dataset}: {said}. Nothing is published; what was published before is untouched"

    def _public(self, text: str) -> str:
        for secret in self._secrets:
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return text


def _rows(spec: DirectorySpec, found: _Reading) -> pl.DataFrame:
    rows = []
    for number in range(1, found.last + 1):
        page, body = found.pages[number], found.bodies[number]
        digest = hashlib.sha256(body).hexdigest()
        key = f"captures/{spec.name}/{digest}.json"
        rows.append((number, key, digest, len(body), len(page.records), page.total_records, page.total_pages))
    return pl.DataFrame(rows, schema=PAGE_COLUMNS, orient="row")


def _store(lake: Objects, base: Snapshot | None, rows: pl.DataFrame, found: _Reading) -> None:
    known = set(base.scan([NEWEST], columns=["object_key"]).collect()["object_key"]) if base else set()
    for number, key in rows.select("page", "object_key").iter_rows():
        if key not in known and not lake.exists(key):
            lake.put(key, found.bodies[number])


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
    """Only warns: the next step deduplicates or quarantines such records."""
    said = f"{len(problems)} uniqueIds are on two pages" if problems else "no uniqueId is on two pages"
    sample = pl.DataFrame({"problem": [problem.message for problem in problems[:10]]})
    return CheckOutcome("ids_on_one_page", not problems, said, sample if problems else None, blocking=False)
