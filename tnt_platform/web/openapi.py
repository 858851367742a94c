"""The OpenAPI document: what FastAPI derives, made true to what this server answers."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from tnt_platform.web.problems import MEDIA_TYPE

_DESCRIPTION = (
    "Published, versioned data. Every list has a `cursor` that pins the version it began with; every answer has the "
    "version as its ETag. Errors are problem+json (RFC 9457)."
)


def install(app: FastAPI, *, title: str, version: str, has_key: bool) -> None:
    """Let `app.openapi()` give the document; it is made once, when it is asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=title, version=version, description=_DESCRIPTION, routes=app.routes)
            app.openapi_schema = _true_to_life(made, has_key=has_key)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _true_to_life(made: dict[str, Any], *, has_key: bool) -> dict[str, Any]:
    schemas = made.get("components", {}).get("schemas", {})
    for path, operations in made["paths"].items():
        for operation in operations.values():
            answers = operation["responses"]
            # A bad parameter is 400 here, with a problem document.
            answers.pop("422", None)
            if "400" in answers:
                content = answers["400"]["content"]
                answers["400"]["content"] = {MEDIA_TYPE: next(iter(content.values()))}
            if has_key and not path.startswith("/health"):
                operation["security"] = [{"key": []}]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    if has_key:
        made["components"]["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "x-api-key"}
        }
    return made
