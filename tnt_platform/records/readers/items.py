"""Read the response of a JSON API as a list of items."""

from __future__ import annotations

from typing import Any, NoReturn

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.paged_json import (
    RepeatedName,
    check_whole,
    pages_of,
    parsed,
    search,
    shown,
    stated_error,
)
from tnt_platform.readers.served_page import refuse_page


def read_items(
    data: bytes, items_path: str = "@", count_path: str | None = None, pages_path: str | None = None
) -> list[Any]:
    """Return every item of a JSON response and of its further pages, in order; NaN and Infinity are not JSON numbers.

    Args:
        items_path: JMESPath of the list in a page.
        count_path: JMESPath of the number of items that the response itself gives.
        pages_path: JMESPath of the number of pages that it gives.

    Raises:
        InvalidInput: html_page, not_json, duplicate_name, no_items (the path finds no list, as in an error
            response), and what `check_whole` raises.
    """
    refuse_page(data)
    documents = [_parse(page) for page in pages_of(data)]
    items: list[Any] = []
    for document in documents:
        found = search(items_path, document, "items")
        if not isinstance(found, list):
            raise InvalidInput(
                "no_items",
                f"items: {items_path!r} is not a list in the response, which {_describe(document)}; look at the "
                "capture to see whether the source returned an error, or correct the path",
            )
        items += found
    check_whole(documents, len(items), count=count_path, pages=pages_path)
    return items


def _parse(data: bytes) -> Any:
    try:
        return parsed(data, parse_constant=_reject_constant)
    except RepeatedName as error:
        raise InvalidInput(
            "duplicate_name", f"{error} in the response; ask the publisher which is meant"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            "not_json",
            f"the response is not valid JSON ({str(error) or type(error).__name__}); it starts with {data[:60]!r}. "
            "Open the source in a browser; the next poll tries again",
        ) from error


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _describe(document: Any) -> str:
    """Say what a response is instead of a list of items: an error's own words, or its fields."""
    error = stated_error(document)
    says = f" and says {error!r}" if error else ""
    if isinstance(document, dict):
        return f"has the fields {', '.join(sorted(document)[:20]) or 'none'}{says}"
    return f"is a list{says}" if isinstance(document, list) else f"is {shown(document)}"
