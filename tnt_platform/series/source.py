"""The publisher's file, fetched if it is another than the one captured last."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from tnt_platform.errors import InvalidInput, NotFound, Unavailable
from tnt_platform.lake.publishing import Place
from tnt_platform.readers.served_page import refuse_page
from tnt_platform.series.spec import SeriesSource
from tnt_platform.services.download import Downloader
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects

_MONTH_MARK = re.compile(r"\{(YYYY|YY|MM)\}")


@dataclass(frozen=True)
class SourceFile:
    """The bytes and what the publisher says about them; `body` is None when they are those captured last."""

    url: str
    body: bytes | None = field(repr=False)
    etag: str | None = None
    last_modified: str | None = None
    content_type: str | None = None


@dataclass(frozen=True)
class KnownFile:
    """What is known of the newest capture: its URL and the publisher's validators."""

    url: str
    etag: str | None
    last_modified: str | None


def fetch_source(
    source: SeriesSource,
    known: KnownFile | None,
    place: Place,
    settings: Settings,
    downloader: Downloader,
    now: datetime,
) -> SourceFile:
    """Fetch the newest file of the source, unless the publisher says that it is the one we have.

    A URL template is walked back month by month, never beyond the month captured last: a publisher whose
    newest page is broken does not bring an old file back.

    Raises:
        NotFound: there is no such file, in no month.
        InvalidInput: a web page came instead of a file.
        Unavailable: the publisher can't be reached, or the file captured last is gone for the moment.
    """
    url = settings.resolve(source.url)
    tried: list[str] = []
    for candidate in _candidates(url, source.months_back, now):
        found = _fetch(candidate, source, known, place, settings, downloader)
        page = _page_in(found)
        if page is not None and candidate == url:
            raise InvalidInput(
                page.reason_code, f"{candidate}: {page}. What was published before is untouched"
            )
        if found is None or page is not None:
            tried.append(f"{candidate} (a web page)" if page else candidate)
            found = None
        if found is not None:
            return found
        if known is not None and candidate == known.url and candidate != url:
            raise Unavailable(
                f"{candidate}, captured before, is not there now, nor any newer one: {', '.join(tried[:-1]) or 'none'}"
                "; older months are not taken instead of it"
            )
    raise _no_file(tried, source.months_back)


def _no_file(tried: list[str], months_back: int) -> NotFound:
    return NotFound(
        f"no file at {', '.join(tried[:3])}{' ...' if len(tried) > 3 else ''}; check `source.url` in a browser"
        + (f" and `months_back` ({months_back})" if len(tried) > 1 else "")
    )


def local_file(path: Path) -> SourceFile:
    """A file that somebody downloaded by hand.

    Raises:
        NotFound: it is not there.
        InvalidInput: it is a web page.
    """
    if not path.is_file():
        raise NotFound(f"{path} is no file")
    body = path.read_bytes()
    refuse_page(body)
    return SourceFile(path.absolute().as_uri(), body, content_type=mimetypes.guess_type(path.name)[0])


def _page_in(found: SourceFile | None) -> InvalidInput | None:
    """The refusal of a page for people that was served in place of a file."""
    if found is None or found.body is None:
        return None
    try:
        refuse_page(found.body)
    except InvalidInput as page:
        return page
    return None


def _candidates(url: str, months_back: int, now: datetime) -> Iterator[str]:
    if not _MONTH_MARK.search(url):
        yield url
        return
    month = now.year * 12 + now.month - 1
    for number in range(month, month - months_back - 1, -1):
        year, at = divmod(number, 12)
        values = {"YYYY": f"{year:04d}", "YY": f"{year % 100:02d}", "MM": f"{at + 1:02d}"}
        yield _MONTH_MARK.sub(lambda mark, values=values: values[mark[1]], url)  # type: ignore[misc]


def _fetch(
    url: str,
    source: SeriesSource,
    known: KnownFile | None,
    place: Place,
    settings: Settings,
    downloader: Downloader,
) -> SourceFile | None:
    """None when there is no such file."""
    if not url.startswith(("http://", "https://")):
        return _fetch_object(url, source, place, settings)
    same = known if known is not None and known.url == url else None
    headers = {name: settings.resolve(value) for name, value in source.headers.items()}
    answer = downloader.fetch(
        url,
        etag=same.etag if same else None,
        last_modified=same.last_modified if same else None,
        headers=headers,
    )
    if answer.status == "absent":
        return None
    return SourceFile(url, answer.body, answer.etag, answer.last_modified, answer.content_type)


def _fetch_object(url: str, source: SeriesSource, place: Place, settings: Settings) -> SourceFile | None:
    objects, key = place.raw, url
    if url.startswith(("file:///", "s3://")):
        folder, _, name = url.rpartition("/")
        # Of a file URL both parts are percent-encoded; the folder is decoded where it is opened.
        key = unquote(name) if url.startswith("file:") else name
        objects = Objects.open(folder, options=settings.s3_options())
    try:
        listed = objects.list(key).filter(key=key)
        if listed.is_empty():
            return None
        if listed["size_bytes"][0] > source.max_size_bytes:
            raise InvalidInput(
                "too_large",
                f"{url} has {listed['size_bytes'][0]:,} bytes, more than `max_size_mb` allows; raise it "
                "if that is right",
            )
        return SourceFile(url, objects.get(key), content_type=mimetypes.guess_type(key)[0])
    except NotFound:
        return None


Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The clock of real runs."""
    return datetime.now(UTC)


def suffix_of(url: str) -> str:
    """The file name's ending, for the key of a capture."""
    name = url.split("?")[0].rsplit("/", 1)[-1]
    found = re.search(r"(\.[A-Za-z0-9]{1,5}){1,2}$", name)
    return found[0].lower() if found else ""
