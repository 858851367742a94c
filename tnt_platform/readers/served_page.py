"""Recognise a web page that a server sent, with status 200, in place of a file."""

from __future__ import annotations

import html
import re
from typing import Final

from tnt_platform.errors import InvalidInput

_HEAD_BYTES: Final = 64 << 10
_PAGE: Final = re.compile(
    # What comes before <html> differs: an XML declaration, comments, a script that redirects.
    r"\s*<(?:(?:title|meta|head|body)\b|(?:.{0,4000}<)??(?:!doctype\s+html\b|(?:html|head|body)[\s>]))",
    re.IGNORECASE | re.DOTALL,
)
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_SAVED_BY_EXCEL: Final = "urn:schemas-microsoft-com:office:excel"
_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def refuse_page(data: bytes) -> None:
    """Raise if the bytes are a web page.

    Raises:
        InvalidInput: html_page, with the page's title.
    """
    text = first_text(data)
    if not _PAGE.match(text):
        return
    if _SAVED_BY_EXCEL in text:
        raise InvalidInput(
            "html_page",
            "the file is a web page that a program saved as a workbook; open it with a spreadsheet program and save it "
            "as xlsx, or ask the publisher for xlsx or CSV",
        )
    title = _TITLE.search(text)
    words = " ".join(html.unescape(title[1]).split()) if title else ""
    called = f"titled {words[:200]!r}" if words else "without a title"
    raise InvalidInput(
        "html_page",
        f"the server sent a web page {called} instead of the file; open the address in a browser, and correct the "
        "`url` if the file has moved, or wait until the site works again",
    )


def first_text(data: bytes) -> str:
    """Return the first 64 KiB as text; undecodable bytes are replaced."""
    head = data[:_HEAD_BYTES]
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return head[len(mark) :].decode(encoding, "replace")
    return head.decode("utf-8", "replace")
