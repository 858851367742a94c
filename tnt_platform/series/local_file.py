"""Check that a file on this machine has what the `defs.yaml` of its dataset declares."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tnt_platform.errors import InvalidInput
from tnt_platform.series.readers.cells import NotInFile, template_names
from tnt_platform.series.source import FileSpec
from tnt_platform.settings import Settings
from tnt_platform.specs.spec import Mistake, Spec
from tnt_platform.specs.spec import Path as SpecPath


def local_file_mistakes(spec: FileSpec, settings: Settings) -> Iterator[Mistake]:
    """Yield each series, or else the table, whose sheet, column or header the file lacks."""
    path = _local_file(spec.source.url, settings)
    if path is None or (error := _error_of(spec, body := path.read_bytes())) is None:
        return
    series: tuple[Spec, ...] = () if spec.reader == "long" else getattr(spec, "series", ())
    errors = [_error_of(spec.model_copy(update={"series": (one,)}), body) for one in series]
    found = [(position, one) for position, one in enumerate(errors) if one is not None]
    if not found:
        table: Spec | None = getattr(spec, "table", None)
        yield _mistake(path, error, table, ("table",) if table else ())
    elif 1 < len(series) == len(found) and len({str(one) for _, one in found}) == 1:
        # The file as a whole is wrong, or its one sheet: report it once, not for each series.
        yield _mistake(path, found[0][1], series[0], ("series", 0))
    else:
        for position, one in found:
            yield _mistake(path, one, series[position], ("series", position))


def _local_file(url: str, settings: Settings) -> Path | None:
    """Return the file that `source.url` names if it is on this machine; URLs with marks for the month are skipped."""
    if settings.missing(url):
        return None
    address = settings.resolve(url)
    if re.search(r"\{[^{}]*\}", address) or address.startswith(("http://", "https://", "s3://")):
        return None
    if not address.startswith("file:///"):
        address = f"{settings.raw_url}/{address}"
    if not address.startswith("file:///"):
        return None
    path = Path(url2pathname(urlsplit(address).path))
    return path if path.is_file() else None


def _error_of(spec: FileSpec, body: bytes) -> InvalidInput | None:
    # Most sources are elsewhere, and the readers take longer to import than all specs to check.
    from tnt_platform.series.reading import read_capture

    try:
        read_capture(spec, body)
    except InvalidInput as error:
        return error
    return None


def _mistake(path: Path, error: InvalidInput, part: Spec | None, at: SpecPath) -> Mistake:
    """Place the error at the key of `part` that names what the file lacks, or at `part` itself."""
    if isinstance(error, NotInFile) and part is not None:
        keys = [key for key, value in part if error.name in _names(value)]
        at = (*at, *keys[:1])
    return Mistake(f"{path.name}: {error}", "", "", at)


def _names(value: object) -> set[str]:
    if isinstance(value, Mapping):
        return {*value}
    return {value, *template_names(value)} if isinstance(value, str) else set()
