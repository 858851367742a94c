"""Pages of a directory API: each read strictly, and all of them judged together: is that the whole directory?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NoReturn

UNIQUE_ID: Final = "uniqueId"

_COUNTS: Final = ("totalRecord", "totalPages", "page", "limit")
_LARGEST_COUNT: Final = 2**63 - 1
_SHOWN_CHARS: Final = 80
_NAMED: Final = 5


@dataclass(frozen=True)
class Page:
    """One page as the API gave it; `records` are JSON values, one for each entry of `data`."""

    number: int
    limit: int
    total_records: int
    total_pages: int
    records: tuple[object, ...]


@dataclass(frozen=True)
class PageFault:
    """Why an answer is no page of the directory."""

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


@dataclass(frozen=True)
class Problem:
    """Why a set of pages may not be the whole directory; `repeated` is set for the code repeated_id alone."""

    code: str
    message: str
    repeated: RepeatedId | None = None


def read_page(body: bytes, number: int, limit: int | None = None) -> Page | PageFault:
    """Read the answer to a request for page `number` with `limit` records a page (None: whatever it says).

    Reason codes: html_instead_of_json, invalid_json (no UTF-8, NaN and a name that occurs twice included),
    unexpected_answer (a field is missing or of another type), other_page (page or limit are not those asked for),
    too_many_records (more than `limit`). The entries of `data` may be any JSON values: a record that can't be used
    is refused by itself, not with its page.
    """
    text = body.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n")
    if text.startswith(b"<"):
        return PageFault(number, "html_instead_of_json", f"the answer is a web page: {_shown(text)}")
    try:
        answer = json.loads(text.decode(), parse_constant=_refuse_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        said = str(error) if text else "it is empty"
        return PageFault(number, "invalid_json", f"the answer is not JSON: {said}")
    if wrong := _wrong_type(answer):
        return PageFault(number, "unexpected_answer", wrong)
    page = Page(
        answer["page"], answer["limit"], answer["totalRecord"], answer["totalPages"], tuple(answer["data"])
    )
    if page.number != number:
        return PageFault(number, "other_page", f"the answer says that it is page {page.number}")
    if page.limit < 1 or (limit is not None and page.limit != limit):
        said = f"the answer says limit {page.limit}" + (f" where {limit} was asked for" if limit else "")
        return PageFault(number, "other_page", said)
    if len(page.records) > page.limit:
        said = f"{len(page.records)} records on a page of at most {page.limit}"
        return PageFault(number, "too_many_records", said)
    return page


def completeness(pages: Sequence[Page]) -> list[Problem]:
    """Say what keeps `pages` from being one whole state of the directory; nothing if they are one.

    `pages` may go beyond the last page that the API names: those prove the end by being empty. Codes:
    changing_totals, contradictory_totals, missing_pages, pages_beyond_the_end, other_record_count, and repeated_id
    for each uniqueId on two pages. A record that is added or removed while pages are read moves others over a page's
    edge: it shows as one of these when the totals follow the change, and also when they do not, provided that the
    pages were read in order.
    """
    in_order = sorted(pages, key=lambda page: page.number)
    return [*_total_problems(in_order), *_page_problems(in_order), *_repeated_ids(in_order)]


def is_whole(problems: Sequence[Problem], before: Sequence[Problem] | None) -> bool:
    """Whether a reading with `problems` can be used; `before` are those of the reading just before it, if any.

    An id on the same two places in two readings in a row has not moved: it is dirt, to be judged record by record.
    """
    if not problems:
        return True
    repeated = {problem.repeated for problem in problems}
    return None not in repeated and repeated == {each.repeated for each in before or () if each.repeated}


def _wrong_type(answer: object) -> str | None:
    if not isinstance(answer, dict):
        return f"the answer is a {type(answer).__name__} where an object is expected"
    for name in _COUNTS:
        value = answer.get(name)
        # `type` and not isinstance: true is an int to Python.
        if type(value) is not int or not 0 <= value <= _LARGEST_COUNT:
            shown = json.dumps(value)[:_SHOWN_CHARS] if name in answer else "missing"
            return f"{name} is {shown} where a whole number is expected"
    if not isinstance(answer.get("data"), list):
        return "data is not a list" if "data" in answer else "data is missing"
    return None


def _total_problems(pages: Sequence[Page]) -> Iterator[Problem]:
    if not pages:
        return
    first = pages[0]
    for name, said, values in (
        ("totalRecord", first.total_records, [page.total_records for page in pages]),
        ("totalPages", first.total_pages, [page.total_pages for page in pages]),
    ):
        other = next(
            ((page, value) for page, value in zip(pages, values, strict=True) if value != said), None
        )
        if other is not None:
            text = f"{name} is {said} on page {first.number} and {other[1]} on page {other[0].number}"
            yield Problem("changing_totals", text)
    needed = -(-first.total_records // first.limit)
    # An empty directory may be called no page or one empty page.
    if first.total_pages not in {needed, max(1, needed)}:
        text = (
            f"totalPages is {first.total_pages}, but {first.total_records} records make {needed} pages "
            f"of {first.limit}"
        )
        yield Problem("contradictory_totals", text)


def _page_problems(pages: Sequence[Page]) -> Iterator[Problem]:
    numbers = {page.number for page in pages}
    last = max(1, pages[0].total_pages) if pages else 1
    missing = last - sum(number <= last for number in numbers)
    if missing:
        named = islice((number for number in range(1, last + 1) if number not in numbers), _NAMED)
        text = f"{missing} of {last} pages are missing: {', '.join(map(str, named))}"
        yield Problem("missing_pages", text + (", ..." if missing > _NAMED else ""))
    beyond = next((page for page in pages if page.number > last and page.records), None)
    if beyond is not None:
        text = f"page {beyond.number} has {len(beyond.records)} records, though page {last} is said to be the last"
        yield Problem("pages_beyond_the_end", text)
    totals = {page.total_records for page in pages}
    records = sum(len(page.records) for page in pages)
    if len(totals) == 1 and {records} != totals:
        yield Problem(
            "other_record_count", f"the pages hold {records} records, but totalRecord is {totals.pop()}"
        )


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
                yield Problem("repeated_id", _said(repeated), repeated)


def _said(repeated: RepeatedId) -> str:
    places = (f"page {page}, record {position}" for page, position in (repeated.first, repeated.again))
    content = "the same" if repeated.same_content else "different"
    return f"uniqueId {repeated.unique_id} is on {' and on '.join(places)} with {content} content"


def _unique_id(record: object) -> str | None:
    value = record.get(UNIQUE_ID) if isinstance(record, dict) else None
    return str(value) if type(value) in {str, int} and str(value).strip() else None


def _content(record: object) -> str:
    return json.dumps(record, sort_keys=True)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} occurs twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _shown(text: bytes) -> str:
    return " ".join(text[: 4 * _SHOWN_CHARS].decode(errors="replace").split())[:_SHOWN_CHARS]
