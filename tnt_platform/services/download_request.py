"""What a download asks for, where redirects may lead it, and how it may be spoken of."""

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
        """The request for a message: a query may hold a key."""
        return f"GET {self.url.with_query(None)}" + ("?..." if self.url.query_string else "")


def download_request(
    url: str, *, etag: str | None, last_modified: str | None, headers: Mapping[str, str]
) -> DownloadRequest:
    """Check the URL and make the headers.

    Raises:
        ConfigError: not an http or https URL, or one with credentials in it.
    """
    try:
        address = yarl.URL(url).with_fragment(None)
    except ValueError as error:
        raise ConfigError(f"{_without_secrets(url)!r} is not a URL: {type(error).__name__}") from None
    if address.scheme not in ("http", "https") or not address.host:
        raise ConfigError(f"{_without_secrets(url)!r} can't be downloaded: give a full http or https URL")
    if address.user is not None or address.password is not None:
        raise ConfigError(
            f"the URL of {address.host} has credentials in it, which would be recorded with every file: "
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
    """The next hop, None when the answer is no redirect.

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
            f"{hop.shown}: HTTP {response.status} redirects to something that is no http or https URL; "
            "correct the URL"
        )
    if hop.url.scheme == "https" and target.scheme == "http":
        raise Refused(
            f"{hop.shown}: it redirects from https to http on {target.host}, where anyone could change the "
            "file on its way; give the address of the file itself"
        )
    headers = hop.headers
    if target.origin() != hop.url.origin():
        keep = (*PUBLIC_HEADERS, *_CONDITIONAL_HEADERS)
        headers = CIMultiDict((name, value) for name, value in headers.items() if name.lower() in keep)
    return replace(hop, url=target, headers=headers)


def proxy_of(url: yarl.URL) -> tuple[yarl.URL | None, aiohttp.BasicAuth | None]:
    """The proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY give for a URL, and its credentials.

    This machine itself is never asked through a proxy. aiohttp's own trust_env would also send what ~/.netrc holds for
    the publisher's host.

    Raises:
        ConfigError: the variable has no URL in it.
    """
    host = url.host or ""
    named = None if host in _THIS_MACHINE or proxy_bypass(host) else getproxies().get(url.scheme)
    if not named:
        return None, None
    try:
        proxy = yarl.URL(named)
    except ValueError:
        proxy = yarl.URL()
    if proxy.scheme != "http" or not proxy.host:
        raise ConfigError(
            f"{url.scheme.upper()}_PROXY is {named.rpartition('@')[2]!r}; it must be like http://proxy.example.org:3128"
        )
    auth = aiohttp.BasicAuth(proxy.user, proxy.password or "") if proxy.user else None
    return proxy.with_user(None), auth


def _without_secrets(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", url.partition("?")[0])[:200]
