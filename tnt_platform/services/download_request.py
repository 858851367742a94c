"""Build the requests of a download: checked URL, conditional headers, redirects and proxy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.request import getproxies, proxy_bypass

import aiohttp
import yarl
from multidict import CIMultiDict

from tnt_platform.errors import ConfigError, Refused
from tnt_platform.services.http_attempts import PUBLIC_HEADERS, secret_values

_REDIRECTS = (301, 302, 303, 307, 308)
_CONDITIONAL_HEADERS = ("if-none-match", "if-modified-since")
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class DownloadRequest:
    """One hop of a download; headers stay out of its repr, since they carry credentials."""

    given_url: str
    url: yarl.URL
    headers: CIMultiDict[str] = field(repr=False)
    etag: str | None
    last_modified: str | None
    secrets: tuple[str, ...] = field(repr=False)

    @property
    def is_conditional(self) -> bool:
        return self.etag is not None or self.last_modified is not None

    @property
    def shown(self) -> str:
        """Name the request in messages, without its query, which may hold a key."""
        return f"GET {self.url.with_query(None)}" + ("?..." if self.url.query_string else "")


def download_request(
    url: str, *, etag: str | None, last_modified: str | None, headers: Mapping[str, str]
) -> DownloadRequest:
    """Check the URL and build the headers.

    Raises:
        ConfigError: not an http or https URL, or one that contains credentials.
    """
    try:
        address = yarl.URL(url).with_fragment(None)
    except ValueError as error:
        raise ConfigError(f"{_without_secrets(url)!r} is not a URL: {type(error).__name__}") from None
    if address.scheme not in ("http", "https") or not address.host:
        raise ConfigError(f"{_without_secrets(url)!r} cannot be downloaded: give a full http or https URL")
    if address.user is not None or address.password is not None:
        raise ConfigError(
            f"the URL of {address.host} contains credentials, which would be recorded with every file: "
            "send them in a header"
        )
    sent = CIMultiDict(headers)
    sent["Accept-Encoding"] = "gzip"
    if etag is not None:
        sent["If-None-Match"] = etag
    if last_modified is not None:
        sent["If-Modified-Since"] = last_modified
    ours = (*_CONDITIONAL_HEADERS, "accept-encoding")
    given = {name: value for name, value in headers.items() if name.lower() not in ours}
    return DownloadRequest(url, address, sent, etag, last_modified, tuple(secret_values(given)))


def redirect_of(response: aiohttp.ClientResponse, hop: DownloadRequest) -> DownloadRequest | None:
    """Build the request that follows a redirect; None if the response is not one.

    Raises:
        Refused: the redirect leads nowhere, to another scheme, or from https to http.
    """
    if response.status not in _REDIRECTS:
        return None
    try:
        target = hop.url.join(yarl.URL(response.headers.get("Location", "")))
        target = target.with_fragment(None).with_user(None)
    except ValueError:
        target = yarl.URL()
    if target.scheme not in ("http", "https") or not target.host or "Location" not in response.headers:
        raise Refused(
            f"{hop.shown}: HTTP {response.status} redirects to something that is not an http or https URL; "
            "correct the URL"
        )
    if hop.url.scheme == "https" and target.scheme == "http":
        raise Refused(
            f"{hop.shown}: it redirects from https to http on {target.host}, where anyone could alter the "
            "file in transit; give the URL of the file itself"
        )
    headers = hop.headers
    if target.origin() != hop.url.origin():
        keep = (*PUBLIC_HEADERS, *_CONDITIONAL_HEADERS)
        headers = CIMultiDict((name, value) for name, value in headers.items() if name.lower() in keep)
    return replace(hop, url=target, headers=headers)


def proxy_of(url: yarl.URL) -> tuple[yarl.URL | None, aiohttp.BasicAuth | None]:
    """Return the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY set for a URL, and its credentials.

    This machine itself is never reached through a proxy. aiohttp's own trust_env would also send the credentials
    that ~/.netrc holds for the publisher's host.

    Raises:
        ConfigError: the variable is not the URL of an HTTP proxy.
    """
    host = url.host or ""
    value = None if host in _THIS_MACHINE or proxy_bypass(host) else getproxies().get(url.scheme)
    if not value:
        return None, None
    try:
        proxy = yarl.URL(value)
    except ValueError:
        proxy = yarl.URL()
    if proxy.scheme != "http" or not proxy.host:
        raise ConfigError(
            f"{url.scheme.upper()}_PROXY is {value.rpartition('@')[2]!r}; it must be like http://proxy.example.org:3128"
        )
    auth = aiohttp.BasicAuth(proxy.user, proxy.password or "") if proxy.user else None
    return proxy.with_user(None), auth


def _without_secrets(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", url.partition("?")[0])[:200]
