"""A JSON answer in pages: follow them, keep them as one body, and tell whether the answer is whole.

Several pages are one JSON text sequence (RFC 7464): each page after a byte 0x1E, which no JSON text holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import jmespath
import jmespath.exceptions

from tnt_platform.errors import InvalidInput

SEQUENCE_TYPE: Final = "application/json-seq"
_MARK: Final = b"\x1e"
_SHOWN_CHARS: Final = 80
_ERROR_KEY: Final = re.compile(r"error|message|fault|detail|reason|status_?text|^status$", re.IGNORECASE)
_ERROR_CHARS: Final = 300
_ERROR_DEPTH: Final = 3
_ERROR_ITEMS: Final = 5


@dataclass(frozen=True)
class Paging:
    """How the pages after the first are found, and how many there may be.

    pages: JMESPath of the number of pages. With `page_parameter`, they are asked for by their number in the query.
    next_page: JMESPath of the address of the next page, or with `cursor_parameter` of its cursor.
    """

    pages: str | None
    page_parameter: str | None
    next_page: str | None
    cursor_parameter: str | None
    max_pages: int
    max_bytes: int

    @property
    def follows(self) -> bool:
        """Whether there is a way to the pages after the first."""
        return bool(self.page_parameter or self.next_page)


def follow_pages(url: str, first: bytes, paging: Paging, fetch: Callable[[str], bytes]) -> bytes:
    """Return the first page with those after it as one body; a single page is returned as it is.

    Raises:
        InvalidInput: too_many_pages, too_large, page_repeated (the same page again), next_elsewhere (the link leads to
            another site), not_json for a page after the first.
    """
    bodies, addresses = [first], {url}
    while (address := _next_address(url, bodies, paging)) is not None:
        if len(bodies) >= paging.max_pages:
            raise InvalidInput(
                "too_many_pages",
                f"{url}: the answer has more than {paging.max_pages:,} pages (`source.max_pages`); ask for larger "
                "pages, or raise it",
            )
        body = fetch(address)
        if address in addresses or body in bodies:
            raise InvalidInput(
                "page_repeated",
                f"{address}: page {len(bodies) + 1} is the same as one before; look at `source.page_parameter` or "
                "`source.next_page`",
            )
        addresses.add(address)
        bodies.append(body)
        if sum(map(len, bodies)) > paging.max_bytes:
            raise InvalidInput(
                "too_large", f"{url}: {len(bodies)} pages have more bytes than `max_size_mb` allows; raise it"
            )
    return first if len(bodies) == 1 else b"".join(_MARK + _as_utf8(body) + b"\n" for body in bodies)


def pages_of(body: bytes) -> list[bytes]:
    """Return the pages of a body; a body of one page is that page."""
    return body.split(_MARK)[1:] if body.startswith(_MARK) else [body]


class RepeatedName(ValueError):
    """An object has a name twice: of its values none is more right than the other."""


def named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its pairs, where JSON would keep the last value of a name in silence.

    Raises:
        RepeatedName: a name occurs twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        values = " and ".join(repr(value)[:40] for name, value in pairs if name == twice)
        raise RepeatedName(f"an object has the name {twice!r} twice, as {values}")
    return found


def parsed(page: bytes, **options: Any) -> Any:
    """Parse one page; `options` are those of `json.loads`.

    Raises:
        ValueError, RecursionError: it is not JSON; RepeatedName: an object has a name twice.
    """
    text = page.decode(json.detect_encoding(page)).removeprefix("\ufeff")
    return json.loads(text, object_pairs_hook=named_once, **options)


def check_whole(documents: Sequence[Any], item_count: int, *, count: str | None, pages: str | None) -> None:
    """Raise unless an answer is as long as it says itself.

    documents: its pages; item_count: the items of all of them; count, pages: JMESPath of the number of items of the
    whole answer, and of the number of pages.

    Raises:
        InvalidInput: no_count, no_pages, fewer_items, more_items, missing_pages, changed_meanwhile.
    """
    if pages is not None:
        stated = _number(documents, pages, "pages")
        if stated > max(len(documents), 1):
            raise InvalidInput(
                "missing_pages",
                f"the answer says that it has {stated:,} pages, and {len(documents):,} were read; a part is never "
                "accepted. Ask for larger pages in the `url`, or declare how the others are found "
                "(`source.page_parameter` or `source.next_page`)",
            )
    if count is not None and (stated := _number(documents, count, "count")) != item_count:
        raise InvalidInput(
            "fewer_items" if item_count < stated else "more_items",
            f"the response has {item_count} items but says there are {stated}; a part is never accepted. Look at the "
            "source, or at the paging in its url",
        )


def search(path: str, document: Any, option: str) -> Any:
    """Apply a JMESPath that the YAML declares as `option`.

    Raises:
        InvalidInput: no_<option>, it can't be applied.
    """
    try:
        return jmespath.search(path, document)
    except jmespath.exceptions.JMESPathError as error:
        raise InvalidInput(
            f"no_{option}",
            f"{option}: {path!r} can't be applied to the response ({error}); correct the path",
        ) from error


def shown(value: Any) -> str:
    """Return a value as JSON, cut to fit a message."""
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def stated_error(document: Any) -> str:
    """Return the words of an error that came with status 200 in place of data, "" if there are none."""
    words = list(dict.fromkeys(_error_texts(document, depth=0)))
    text = "; ".join(words)
    return text if len(text) <= _ERROR_CHARS else f"{text[:_ERROR_CHARS]}…"


def _error_texts(value: Any, depth: int) -> Iterator[str]:
    """Yield the texts below keys that APIs use for errors."""
    if depth > _ERROR_DEPTH:
        return
    if isinstance(value, list):
        for one in value[:_ERROR_ITEMS]:
            yield from _error_texts(one, depth + 1)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if _ERROR_KEY.search(name) and inner not in (None, "", [], {}, False):
                yield from _plain_texts(inner)
            elif isinstance(inner, dict) or (
                isinstance(inner, list) and any(isinstance(one, dict) for one in inner)
            ):
                yield from _error_texts(inner, depth + 1)


def _plain_texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _plain_texts(inner)
    elif isinstance(value, list):
        for inner in value[:_ERROR_ITEMS]:
            yield from _plain_texts(inner)
    elif value is not None and not isinstance(value, bool):
        yield " ".join(str(value).split())


def _number(documents: Sequence[Any], path: str, option: str) -> int:
    found = [search(path, document, option) for document in documents]
    numbers = [_whole_number(value) for value in found]
    if None in numbers:
        wrong = found[numbers.index(None)]
        raise InvalidInput(
            f"no_{option}",
            f"{option}: {path!r} is {shown(wrong)}, not a whole number; correct the path, or delete it if the "
            f"response has no {option}",
        )
    if len(set(numbers)) > 1:
        raise InvalidInput(
            "changed_meanwhile",
            f"{option}: the pages say {' and '.join(sorted({str(number) for number in numbers}))}; the source changed "
            "while it was read, and the next run reads it again",
        )
    return numbers[0] or 0


def _whole_number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _next_address(url: str, bodies: Sequence[bytes], paging: Paging) -> str | None:
    """Return the address of the page after the last of `bodies`, or None if there is none."""
    if not paging.follows:
        return None
    try:
        document = parsed(bodies[-1])
    except (ValueError, RecursionError) as error:
        if len(bodies) == 1:
            return None  # whoever reads the answer says what is wrong with it
        raise InvalidInput(
            "not_json", f"page {len(bodies)} of {url} is not JSON; it starts with {bodies[-1][:60]!r}"
        ) from error
    if paging.page_parameter is not None:
        stated = _whole_number(search(paging.pages or "", document, "pages")) if paging.pages else None
        more = stated is not None and stated > len(bodies)
        return _with_query(url, paging.page_parameter, str(len(bodies) + 1)) if more else None
    return _linked_address(url, search(paging.next_page or "", document, "next_page"), paging)


def _linked_address(url: str, link: Any, paging: Paging) -> str | None:
    if link is None or link in ("", False):
        return None
    if paging.cursor_parameter is not None:
        return _with_query(url, paging.cursor_parameter, str(link))
    address = urljoin(url, str(link))
    if urlsplit(address)[:2] != urlsplit(url)[:2]:
        # The headers of the request may hold keys that another site must not see.
        raise InvalidInput(
            "next_elsewhere",
            f"{url}: the next page is at {urlsplit(address).netloc or address}, another site; correct "
            "`source.next_page`",
        )
    return address


def _with_query(url: str, name: str, value: str) -> str:
    parts = urlsplit(url)
    others = [pair for pair in parts.query.split("&") if pair and not _is(pair, name)]
    return urlunsplit(parts._replace(query="&".join([*others, urlencode({name: value})])))


def _is(pair: str, name: str) -> bool:
    return any(key == name for key, _ in parse_qsl(pair, keep_blank_values=True))


def _as_utf8(page: bytes) -> bytes:
    return page.decode(json.detect_encoding(page)).removeprefix("\ufeff").encode()


class Number(float):
    """A JSON number that keeps its spelling."""

    text: str

    def __new__(cls, text: str) -> Number:
        number = super().__new__(cls, text)
        number.text = text
        return number


def with_spelled_numbers(value: Any) -> Any:
    """Return JSON in which each `Number` is its text, for readers that take every value as text."""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, list):
        return [with_spelled_numbers(one) for one in value]
    if isinstance(value, dict):
        return {name: with_spelled_numbers(one) for name, one in value.items()}
    return value


def each_record(documents: Sequence[Any], path: str, option: str) -> Iterator[list[Any] | None]:
    """Yield the list at `path` of each page; None where it has no list."""
    for document in documents:
        found = search(path, document, option)
        yield found if isinstance(found, list) else None
