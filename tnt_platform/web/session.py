"""The API key: in a header for programs, in a cookie for people."""

from __future__ import annotations

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie

from starlette.types import Scope

COOKIE = "tnt_session"
_OPEN = ("/health/", "/static/")
_OPEN_EXACTLY = frozenset({"/login", "/openapi.json", "/docs"})


class Keyring:
    """Tells who may read. Without a key everybody may."""

    def __init__(self, key: str | None) -> None:
        self._key = key.encode() if key else None

    @property
    def is_open(self) -> bool:
        """Whether no key is asked for."""
        return self._key is None

    def admits(self, scope: Scope) -> bool:
        """Whether a request carries the key or a session; health, docs and the login page need none."""
        if self._key is None or scope["method"] == "OPTIONS":
            return True
        path = scope["path"]
        if path in _OPEN_EXACTLY or path.startswith(_OPEN):
            return True
        headers = dict(scope["headers"])
        if b"x-api-key" in headers:
            return self.is_key(headers[b"x-api-key"])
        return self._is_session(headers.get(b"cookie", b""))

    def is_key(self, given: bytes) -> bool:
        """Compare in constant time; hashes, so that the length tells nothing either."""
        if self._key is None:
            return True
        return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(self._key).digest())

    def session(self) -> str:
        """The value of a session's cookie: it can't be made without the key and does not hold it."""
        assert self._key is not None
        return hmac.new(self._key, b"tnt dashboard session v1", "sha256").hexdigest()

    def _is_session(self, header: bytes) -> bool:
        try:
            morsel = SimpleCookie(header.decode("latin-1")).get(COOKIE)
        except CookieError:
            return False
        return morsel is not None and hmac.compare_digest(morsel.value.encode(), self.session().encode())
