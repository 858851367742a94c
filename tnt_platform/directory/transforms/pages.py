"""Read pages of a directory API strictly, and tell whether a set of pages is the whole directory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NoReturn

from tnt_platform.readers.paged_json import named_once

UNIQUE_ID: Final = "uniqueId"

_COUNTS: Final = ("totalRecord", "totalPages", "page", "limit")
_LARGEST_COUNT: Final = 2**63 - 1
_EXCERPT_CHARS: Final = 80
_MISSING_LISTED: Final = 5


@dataclass(frozen=True)
class Page:
    """One page as the API served it; `records` are JSON values, one for each entry of `data`."""

    number: int
    limit: int
    total_records: int
    total_pages: int
    records: tuple[object, ...]


@dataclass(frozen=True)
class PageFault:
    """Why a response is not a page of the directory."""

    number: int
    reason_code: str
    reason: str


@dataclass(frozen=True)
class RepeatedId:
    """A uniqueId on two pages; the places are (page, position), both from 1."""

    unique_id: str
    first: tuple[int, int]
    again: tuple[int, int]
    same_content: bool

    def __str__(self) -> str:
        places = (f"page {page}, record {position}" for page, position in (self.first, self.again))
        content = "the same" if self.same_content else "different"
        return f"uniqueId {self.unique_id} is on {' and on '.join(places)} with {content} content"


@dataclass(frozen=True)
class Problem:
    """Why a set of pages may not be the whole directory; only the code repeated_id has `repeated`."""

    code: str
    message: str
    repeated: RepeatedId | None = None


def read_page(body: bytes, number: int, limit: int | None = None) -> Page | PageFault:
    """Read the response to a request for page `number` with `limit` records per page (None: any limit).

    Reason codes: html_instead_of_json; invalid_json (also for invalid UTF-8, NaN and repeated names); unexpected_answer
    (a field is missing or has the wrong type); other_page (not the page or limit requested); too_many_records (more
    than `limit`). The entries of `data` may be any JSON values: an unusable record is rejected on its own, not with
    its page.
    """
    text = body.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n")
    if text.startswith(b"<"):
        return PageFault(number, "html_instead_of_json", f"the response is a web page: {_excerpt(text)}")
    try:
        response = json.loads(text.decode(), parse_constant=_refuse_constant, object_pairs_hook=named_once)
    except (ValueError, RecursionError) as error:
        reason = str(error) if text else "it is empty"
        return PageFault(number, "invalid_json", f"the response is not valid JSON: {reason}")
    if wrong := _wrong_type(response):
        return PageFault(number, "unexpected_answer", wrong)
    page = Page(
        response["page"],
        response["limit"],
        response["totalRecord"],
        response["totalPages"],
        tuple(response["data"]),
    )
    if page.number != number:
        return PageFault(number, "other_page", f"the response is for page {page.number}")
    if page.limit < 1 or (limit is not None and page.limit != limit):
        reason = f"the response has limit {page.limit}" + (f"; the request had {limit}" if limit else "")
        return PageFault(number, "other_page", reason)
    if len(page.records) > page.limit:
        reason = f"{len(page.records)} records on a page of at most {page.limit}"
        return PageFault(number, "too_many_records", reason)
    return page


def completeness(pages: Sequence[Page]) -> list[Problem]:
    """List what contradicts `pages` being one whole state of the directory.

    `pages` may go beyond the last page that the API names: an empty page there proves the end. Codes:
    changing_totals, contradictory_totals, missing_pages, pages_beyond_the_end, other_record_count, and repeated_id
    for each uniqueId on two pages. A record added or removed while the pages are read pushes others across a page
    boundary. That shows as one of these problems if the totals follow the change; if they do not, it still shows,
    provided that the pages were read in order.
    """
    in_order = sorted(pages, key=lambda page: page.number)
    return [*_total_problems(in_order), *_page_problems(in_order), *_repeated_ids(in_order)]


def is_whole(problems: Sequence[Problem], before: Sequence[Problem] | None) -> bool:
    """Tell whether a reading with `problems` can be used; `before` are the problems of the reading just before it.

    An id at the same two places in two consecutive readings has not moved: the source really lists it twice, and the
    next step decides what becomes of the two records.
    """
    if not problems:
        return True
    repeated = {problem.repeated for problem in problems}
    return None not in repeated and repeated == {each.repeated for each in before or () if each.repeated}


def _wrong_type(response: object) -> str | None:
    if not isinstance(response, dict):
        return f"the response is a {type(response).__name__}; expected an object"
    for name in _COUNTS:
        value = response.get(name)
        # `type` instead of isinstance, because true is an int in Python.
        if type(value) is not int or not 0 <= value <= _LARGEST_COUNT:
            found = json.dumps(value)[:_EXCERPT_CHARS] if name in response else "missing"
            return f"{name} is {found}; expected a whole number"
    if not isinstance(response.get("data"), list):
        return "data is not a list" if "data" in response else "data is missing"
    return None


def _total_problems(pages: Sequence[Page]) -> Iterator[Problem]:
    if not pages:
        return
    first = pages[0]
    for name, attribute in (("totalRecord", "total_records"), ("totalPages", "total_pages")):
        total = getattr(first, attribute)
        other = next((page for page in pages if getattr(page, attribute) != total), None)
        if other is not None:
            message = f"{name} is {total} on page {first.number} and {getattr(other, attribute)} on page {other.number}"
            yield Problem("changing_totals", message)
    needed = -(-first.total_records // first.limit)
    # An empty directory may report no pages or one empty page.
    if first.total_pages not in {needed, max(1, needed)}:
        message = (
            f"totalPages is {first.total_pages}, but {first.total_records} records make {needed} pages "
            f"of {first.limit}"
        )
        yield Problem("contradictory_totals", message)


def _page_problems(pages: Sequence[Page]) -> Iterator[Problem]:
    numbers = {page.number for page in pages}
    last = max(1, pages[0].total_pages) if pages else 1
    missing = last - sum(number <= last for number in numbers)
    if missing:
        listed = islice((number for number in range(1, last + 1) if number not in numbers), _MISSING_LISTED)
        message = f"{missing} of {last} pages are missing: {', '.join(map(str, listed))}"
        yield Problem("missing_pages", message + (", ..." if missing > _MISSING_LISTED else ""))
    beyond = next((page for page in pages if page.number > last and page.records), None)
    if beyond is not None:
        message = (
            f"page {beyond.number} has {len(beyond.records)} records, but page {last} should be the last"
        )
        yield Problem("pages_beyond_the_end", message)
    totals = {page.total_records for page in pages}
    records = sum(len(page.records) for page in pages)
    if len(totals) == 1 and {records} != totals:
        message = f"the pages hold {records} records, but totalRecord is {totals.pop()}"
        yield Problem("other_record_count", message)


def _repeated_ids(pages: Sequence[Page]) -> Iterator[Problem]:
    seen: dict[str, tuple[int, int, object]] = {}
    for page in pages:
        for position, record in enumerate(page.records, start=1):
            unique_id = _unique_id(record)
            if unique_id is None:
                continue
            number, at, known = seen.setdefault(unique_id, (page.number, position, record))
            if number != page.number:
                same = _content(known) == _content(record)
                repeated = RepeatedId(unique_id, (number, at), (page.number, position), same)
                yield Problem("repeated_id", str(repeated), repeated)


def _unique_id(record: object) -> str | None:
    value = record.get(UNIQUE_ID) if isinstance(record, dict) else None
    return str(value) if type(value) in {str, int} and str(value).strip() else None


def _content(record: object) -> str:
    return json.dumps(record, sort_keys=True)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _excerpt(text: bytes) -> str:
    return " ".join(text[: 4 * _EXCERPT_CHARS].decode(errors="replace").split())[:_EXCERPT_CHARS]
