"""Read the response of a JSON API as a list of items."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import jmespath
import jmespath.exceptions

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.served_page import refuse_page

_MAX_SHOWN_CHARS: Final = 80


def read_items(data: bytes, items_path: str = "@", count_path: str | None = None) -> list[Any]:
    """Return every item of a JSON response, in order; NaN and Infinity are not JSON numbers.

    Args:
        items_path: JMESPath of the list.
        count_path: JMESPath of the number of items that the response itself gives.

    Raises:
        InvalidInput: html_page, not_json, no_items (the path finds no list, as in an error response), no_count,
            fewer_items or more_items (than the response's own count).
    """
    refuse_page(data)
    document = _parse(data)
    items = _search(items_path, document, "items")
    if not isinstance(items, list):
        raise InvalidInput(
            "no_items",
            f"items: {items_path!r} is not a list in the response, which {_describe(document)}; look at the capture "
            "to see whether the source returned an error, or correct the path",
        )
    if count_path is not None:
        _check_count(_search(count_path, document, "count"), len(items), count_path)
    return items


def _parse(data: bytes) -> Any:
    try:
        text = data.decode(json.detect_encoding(data)).removeprefix("\ufeff")
        return json.loads(text, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            "not_json",
            f"the response is not valid JSON ({str(error) or type(error).__name__}); it starts with {data[:60]!r}. "
            "Open the source in a browser; the next poll tries again",
        ) from error


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _search(path: str, document: Any, option: str) -> Any:
    try:
        return jmespath.search(path, document)
    except jmespath.exceptions.JMESPathError as error:
        raise InvalidInput(
            f"no_{option}",
            f"{option}: {path!r} can't be applied to the response ({error}); correct the path",
        ) from error


def _check_count(count: Any, item_count: int, path: str) -> None:
    if isinstance(count, bool) or not isinstance(count, int):
        raise InvalidInput(
            "no_count",
            f"count: {path!r} is {_shorten(count)}, not a whole number; correct the path, or delete it if the "
            "response has no count",
        )
    if count != item_count:
        raise InvalidInput(
            "fewer_items" if item_count < count else "more_items",
            f"the response has {item_count} items but says there are {count}; a part is never accepted. Look at the "
            "source, or at the paging in its url",
        )


def _describe(document: Any) -> str:
    if isinstance(document, dict):
        return f"has the fields {', '.join(sorted(document)[:20]) or 'none'}"
    return "is a list" if isinstance(document, list) else f"is {_shorten(document)}"


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "…"
