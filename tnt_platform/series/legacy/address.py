"""The source of an old dataset file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from tnt_platform.errors import ConfigError
from tnt_platform.series.legacy.fields import OldFields, number

WORKBOOKS: Final = ("xlsx", "xlsm", "xls", "excel", "workbook")
_MARKS: Final[Mapping[str, str]] = {
    "mm": "MM", "m": "MM", "month": "MM", "month:02d": "MM", "month:02": "MM", "mes": "MM",
    "yy": "YY", "year2": "YY", "year_short": "YY", "anio2": "YY",
    "yyyy": "YYYY", "year": "YYYY", "year:04d": "YYYY", "anio": "YYYY",
}  # fmt: skip
_STRFTIME: Final[Mapping[str, str]] = {"%m": "{MM}", "%y": "{YY}", "%Y": "{YYYY}"}


def legacy_source(old: OldFields) -> dict[str, Any]:
    """The source as the YAML says it.

    Raises:
        ConfigError: it has no address, or a format that is not read here.
    """
    source = old.inner("source")
    kind = source.take(None, "kind", variants=("type",))
    url = source.take(
        "source.url", "url_template", "url", "path", variants=("uri", "file", "location", "href")
    )
    if not url:
        raise ConfigError(
            "source: neither url, url_template nor path is there; add one of them to the old file"
        )
    made: dict[str, Any] = {"url": _address(str(url), source)}
    if kind is not None:
        source.free("kind", f"{kind!r}: the url says it")
    _format(source)
    made |= _headers(source) | _limits(source)
    verify = source.take(None, "verify", "verify_ssl", variants=("verify_tls", "ssl_verify"))
    if verify is not None:
        source.free("verify", f"{verify!r}: certificates are always verified")
    source.drop(
        "failed requests are retried by themselves", "retries", "max_retries", "backoff", "backoff_factor"
    )
    source.unknown()
    return made


def _format(source: OldFields) -> None:
    form = source.take(None, "format", variants=("file_format",))
    if form is not None and str(form).lower().lstrip(".") not in WORKBOOKS:
        raise ConfigError(
            f"source.format: {form!r} had no reader in the old system that is known here; draft the dataset with "
            "`tnt new series NAME --from FILE`"
        )
    if form is not None:
        source.free("format", f"{form!r}: the file's own bytes tell")


def _headers(source: OldFields) -> dict[str, Any]:
    headers = source.take("source.headers", "headers")
    if isinstance(headers, Mapping):
        return {"headers": {str(name): str(value) for name, value in headers.items()}}
    if headers is not None:
        source.todo("headers", f"{headers!r} are no names with values; write them as `name: value`")
    return {}


def _limits(source: OldFields) -> dict[str, Any]:
    made: dict[str, Any] = {}
    timeout = source.take("source.timeout_s", "timeout", "timeout_s", variants=("timeout_seconds",))
    if timeout:
        made["timeout_s"] = number(timeout, "source.timeout")
    back = source.take(
        "source.months_back", "months_back", variants=("max_months_back", "lookback_months", "lookback")
    )
    if back is not None:
        made["months_back"] = int(number(back, "source.months_back"))
    return made


def _address(url: str, source: OldFields) -> str:
    """The url with the marks of today; a path that is not absolute is a key below the raw files."""
    marked = re.sub(r"\{([^{}$]+)\}", lambda mark: f"{{{_MARKS.get(mark[1].lower(), mark[1])}}}", url)
    for old, new in _STRFTIME.items():
        marked = marked.replace(old, new)
    if marked != url:
        source.assume("url_template", f"{url} is written as {marked}")
    if "://" in marked:
        return marked
    if marked.startswith("/"):
        return f"file://{marked}"
    key = str(PurePosixPath(marked))
    source.todo("path", f"{marked} was relative to the old program: put the file below TNT_RAW_URL as {key}")
    return key
