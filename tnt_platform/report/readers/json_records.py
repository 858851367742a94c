"""The records of JSON: lines of objects, objects one after the other, an array, or one object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, NoReturn

import polars as pl

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.encoding import decode
from tnt_platform.readers.paged_json import named_once
from tnt_platform.readers.served_page import first_text
from tnt_platform.report.readers.records import BAD, RAW_LIMIT_CHARS, Records

# A document is parsed as a whole, into objects that take up to thirty times its size.
_MAX_DOCUMENT_BYTES: Final = 64 << 20
_PLAIN_DECODER: Final = json.JSONDecoder()
_Rows = list[tuple[Any, ...]]


def looks_like_json(data: bytes) -> bool:
    """Tell whether the first line that is not a comment begins an object, or an array that is valid."""
    lines = (line.strip() for line in first_text(data).splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if first.startswith("{"):
        return True
    return first.startswith("[") and (isinstance(_load(first), list) or _parsed(data) is not None)


def read_json(data: bytes, wanted: Sequence[str], *, lines: bool) -> tuple[Literal["json", "jsonl"], Records]:
    """Read JSON as a document or, if it is named so or isn't one, as lines; say which it was.

    Raises:
        InvalidInput: too_large, a document that would take too much memory.
    """
    document = None if lines and _begins_with_an_object(data) else _parsed(data)
    if document is None:
        return "jsonl", _objects(_values_of_lines(data), wanted)
    items = document if isinstance(document, list) else [document]
    return "json", _objects(((number, None, item) for number, item in enumerate(items, start=1)), wanted)


def refuse_other_than_json(data: bytes) -> None:
    """Raise for a file that is named as JSON and is neither a document nor objects, one after the other.

    Raises:
        InvalidInput: not_json.
    """
    if _parsed(data) is not None or _begins_with_objects(data):
        return
    raise InvalidInput(
        "not_json",
        f"the file is named as JSON, but is not valid JSON ({_json_fault(data)}); deliver it again",
    )


def _values_of_lines(data: bytes) -> Iterator[tuple[int, str, Any]]:
    """Yield line, text and value of each value in the lines; a line may hold several objects, one after the other."""
    for number, line in _lines(data):
        value = _load(line)
        if not isinstance(value, _Fault) or "}{" not in line.replace(" ", ""):
            yield number, line, value
            continue
        for text in _objects_in(line):
            yield number, text, _load(text)


def _objects_in(line: str) -> list[str]:
    """Split a line of objects without anything between them; return the whole line if it isn't one."""
    texts, at = [], 0
    while at < len(line):
        try:
            _, end = _PLAIN_DECODER.raw_decode(line, at)
        except (ValueError, RecursionError):
            return [line]
        texts.append(line[at:end])
        at = len(line) - len(line[end:].lstrip(" ,\t"))
    return texts


def _begins_with_objects(data: bytes) -> bool:
    first = next((line for _, line in _lines(data)), "")
    return isinstance(_load(_objects_in(first)[0]), dict) if first else False


def _begins_with_an_object(data: bytes) -> bool:
    """Whether the first line is a complete object."""
    return isinstance(_load(next((line for _, line in _lines(data)), "")), dict)


def _objects(items: Iterator[tuple[int, str | None, Any]], wanted: Sequence[str]) -> Records:
    """Build records of objects from (line number, text or None to serialize the value, value or _Fault)."""
    columns: dict[str, None] = {}
    good: _Rows = []
    bad: _Rows = []
    for number, text, item in items:
        if isinstance(item, dict):
            columns |= dict.fromkeys(item)
            raw = (text if text is not None else _json_text(item)) if wanted else None
            good.append((number, raw, *(_value_text(item.get(name)) for name in wanted)))
        else:
            raw = text if text is not None else _json_text(item)
            bad.append((number, _storable(raw)[:RAW_LIMIT_CHARS], *_fault_of(item)))
    schema: dict[str, Any] = {"line_no": pl.Int64(), "raw": pl.String(), **dict.fromkeys(wanted, pl.String())}
    rows = [tuple(_storable(cell) if isinstance(cell, str) else cell for cell in row) for row in good]
    records = pl.DataFrame(rows, schema=schema, orient="row")
    absent = [name for name in wanted if name not in columns]
    return Records(
        [_storable(name) for name in columns],
        len(good) + len(bad),
        records.drop(absent),
        pl.DataFrame(bad, schema=BAD, orient="row"),
    )


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, numbered from 1."""
    text = decode(data, declared=None).text_utf8.decode("utf-8", "backslashreplace")
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")


class _Fault(str):
    """Why a text is not valid JSON; a type of its own, since JSON values may be strings."""

    __slots__ = ()


def _load(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        return _Fault(str(error) or type(error).__name__)


def _parsed(data: bytes) -> list[Any] | dict[str, Any] | None:
    """Parse the file as one JSON array or object; return None if it is neither."""
    value = _document(data)
    return value if isinstance(value, list | dict) else None


def _json_fault(data: bytes) -> str:
    value = _document(data)
    return value if isinstance(value, _Fault) else "it is neither an array nor an object"


def _document(data: bytes) -> Any:
    if len(data) > _MAX_DOCUMENT_BYTES:
        raise InvalidInput(
            "too_large",
            f"the JSON document has {len(data):,} bytes; more than {_MAX_DOCUMENT_BYTES:,} are read as JSON lines "
            "alone, one record in each: deliver it so, or in smaller documents",
        )
    try:
        return _load(data.decode(json.detect_encoding(data)).removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        return _Fault(str(error))


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


_DECODER: Final = json.JSONDecoder(
    parse_float=Decimal, parse_constant=_reject_constant, object_pairs_hook=named_once
)


def _fault_of(item: Any) -> tuple[str, str]:
    if isinstance(item, _Fault):
        return "not_json", f"the line is not valid JSON: {item}"
    kind = "null" if item is None else type(item).__name__
    return "not_an_object", f"a record must be a JSON object, not {kind}"


def _value_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value) if type(value) in (int, Decimal) else _json_text(value)


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _storable(text: str) -> str:
    """Escape unpaired surrogates, which JSON can express but nothing can store."""
    return text.encode("utf-8", "backslashreplace").decode()
