"""Read a JSON answer of one or several pages as one list of records, and refuse a part of one."""

from __future__ import annotations

import json
from typing import Any

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.compression import MEMBER_LIMIT_BYTES, MEMBER_MAX_RATIO, decompress
from tnt_platform.readers.paged_json import (
    Number,
    check_whole,
    each_record,
    pages_of,
    parsed,
    with_spelled_numbers,
)
from tnt_platform.readers.served_page import refuse_page
from tnt_platform.series.source import FileSpec


def whole_answer(spec: FileSpec, body: bytes) -> tuple[bytes, FileSpec]:
    """Return the body and the layout that its reader takes.

    The pages of an answer become one list of records. An answer that can't be read so is left to the reader, which
    says what is wrong with it.

    Raises:
        InvalidInput: the answer itself says that it has more; see `check_whole`.
    """
    table: Any = getattr(spec, "table", None)
    if getattr(table, "format", None) != "json":
        return body, spec
    data = decompress(body, limit_bytes=MEMBER_LIMIT_BYTES, max_ratio=MEMBER_MAX_RATIO)
    pages = pages_of(data)
    if spec.count is None and spec.pages is None and len(pages) == 1:
        return body, spec
    refuse_page(data)
    try:
        documents = [parsed(page, parse_float=Number, parse_constant=str) for page in pages]
    except (ValueError, RecursionError) as error:
        if len(pages) == 1:
            return body, spec
        raise InvalidInput("not_json", f"one of the {len(pages)} pages can't be read: {error}") from error
    records: list[Any] = []
    for number, found in enumerate(each_record(documents, table.records, "records"), start=1):
        if found is None and len(pages) == 1:
            return body, spec
        if found is None:
            raise InvalidInput(
                "no_records", f"records: {table.records!r} is not a list on page {number} of {len(pages)}"
            )
        records += found
    check_whole(documents, len(records), count=spec.count, pages=spec.pages)
    if len(pages) == 1:
        return body, spec
    joined = json.dumps(with_spelled_numbers(records)).encode()
    return joined, spec.model_copy(update={"table": table.model_copy(update={"records": "@"})})
