"""What the web needs to know beyond where the lake is, taken from the settings' environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tnt_platform.errors import ConfigError
from tnt_platform.settings import Settings

MIN_KEY_LENGTH = 16


@dataclass(frozen=True)
class WebOptions:
    """`api_key`: what clients must send; None opens everything. `cors_origins`: sites whose scripts may read.

    `dagster_url` is for people's links, `dagster_api_url` for this server's own questions.
    """

    api_key: str | None = field(default=None, repr=False)
    cors_origins: tuple[str, ...] = ()
    dagster_url: str | None = None
    dagster_api_url: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> WebOptions:
        """Read TNT_API_KEY, TNT_CORS_ORIGINS (separated by commas), TNT_DAGSTER_URL and TNT_DAGSTER_API_URL.

        Without the last one this server asks where people look.

        Raises:
            ConfigError: a key that is too short to be one, or something that is no address.
        """
        env = settings.environment
        key = env.get("TNT_API_KEY") or None
        if key is not None and len(key) < MIN_KEY_LENGTH:
            raise ConfigError(f"TNT_API_KEY has {len(key)} characters; use {MIN_KEY_LENGTH} or more")
        origins = tuple(o.strip() for o in env.get("TNT_CORS_ORIGINS", "").split(",") if o.strip())
        for origin in origins:
            if origin != "*":
                _checked_address("TNT_CORS_ORIGINS", origin)
        dagster = _address(env, "TNT_DAGSTER_URL")
        return cls(key, origins, dagster, _address(env, "TNT_DAGSTER_API_URL") or dagster)


def _address(env: Mapping[str, str], name: str) -> str | None:
    text = env.get(name)
    if not text:
        return None
    _checked_address(name, text)
    return text.rstrip("/")


def _checked_address(name: str, text: str) -> None:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"{name} holds {text!r}; expected an address such as https://data.example.org")
