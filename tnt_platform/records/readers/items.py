"""The answer of a JSON API as the list of its items, or the reason why it can't be taken."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import jmespath
import jmespath.exceptions

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.served_page import refuse_page

_SHOWN_CHARS: Final = 80


def read_items(data: bytes, items_path: str = "@", count_path: str | None = None) -> list[Any]:
    """Return every item of a JSON response, in order; NaN and Infinity are not JSON numbers.

    Args:
        items_path: JMESPath of the list.
        count_path: JMESPath of the number of items that the response itself gives.

    Raises:
        InvalidInput: html_page, not_json, no_items (the path gives no list: an error in place of the data), no_count,
            fewer_items or more_items (the answer's own count says another number).
    """
    refuse_page(data)
    document = _document(data)
    items = _found(items_path, document, "items")
    if not isinstance(items, list):
        raise InvalidInput(
            "no_items",
            f"items: {items_path!r} is no list in the answer, which {_described(document)}; look at the capture: the "
            "source may be in trouble, or correct the path",
        )
    if count_path is not None:
        _refuse_other_count(_found(count_path, document, "count"), len(items), count_path)
    return items


def _document(data: bytes) -> Any:
    try:
        text = data.decode(json.detect_encoding(data)).removeprefix("\ufeff")
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as fault:
        raise InvalidInput(
            "not_json",
            f"the answer is no JSON ({str(fault) or type(fault).__name__}); it starts with {data[:60]!r}. Look at the "
            "source in a browser, and wait until it works again",
        ) from fault


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _found(path: str, document: Any, option: str) -> Any:
    try:
        return jmespath.search(path, document)
    except jmespath.exceptions.JMESPathError as fault:
        raise InvalidInput(
            f"no_{option}", f"{option}: {path!r} can't be applied to the answer ({fault}); correct the path"
        ) from fault


def _refuse_other_count(count: Any, found: int, path: str) -> None:
    if isinstance(count, bool) or not isinstance(count, int):
        raise InvalidInput(
            "no_count",
            f"count: {path!r} gives {_short(count)}, not a whole number; correct the path, or delete it if the source "
            "doesn't count",
        )
    if count != found:
        code = "fewer_items" if found < count else "more_items"
        raise InvalidInput(
            code,
            f"the answer holds {found} items and says there are {count}; it is not taken in part. Look at the source, "
            "or at paging in its url",
        )


def _described(document: Any) -> str:
    if isinstance(document, dict):
        return f"has the fields {', '.join(sorted(document)[:20]) or 'none'}"
    return "is a list" if isinstance(document, list) else f"is {_short(document)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
