"""Emulate JSONPlaceholder and randomuser.me over HTTP: generated posts and users, with faults on demand.

`GET /posts` returns a list of {userId, id, title, body}, and `GET /api/?results=10` {results: [...], info: {...}}.
Users differ on each request, as those of the real service do, unless `same_people` is set. Posts have an ETag.
`PUT /posts` and `PUT /faults` change what is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import ETag, web

from tnt_platform.errors import ConfigError
from tnt_platform.sandbox.emulator import app_runner, running_emulator

START_TIMEOUT_S = 10
POSTS, USERS = "/posts", "/api/"
MOST_USERS = 5_000
KINDS = (
    "server_error",  # 500
    "throttle",  # 429
    "not_found",  # 404
    "error_page",  # 200 with a web page
    "error_object",  # 200 with {"error": ...}, as randomuser.me responds when it is busy
    "invalid_json",  # half of the response
    "fewer_items",  # the last item is missing; the count of users still includes it
    "duplicates",  # the first item again, with other content
    "repeats",  # the first item again, unchanged
    "missing_ids",  # the first item has no id
    "slow",  # a correct response after slow_s
)
PAGE = b"<!DOCTYPE html><html><head><title>Service unavailable</title></head><body>Back soon.</body></html>"


@dataclass
class RecordsFaults:
    """The current fault: `kind` is one of KINDS, or None; if given, only the `first` responses are affected."""

    kind: str | None = None
    first: int | None = None
    slow_s: float = 30.0

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise ConfigError(f"unknown fault {self.kind!r}; available: {', '.join(KINDS)}")


@dataclass
class RecordsApi:
    """Serves `posts`, and users generated from `seed`; `answers` counts (path, status)."""

    posts: Sequence[dict[str, Any]] = field(default_factory=lambda: sample_posts(100))
    faults: RecordsFaults = field(default_factory=RecordsFaults)
    seed: int = 0
    same_people: bool = False
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    _spoilt: int = field(default=0, init=False)
    _drawn: int = field(default=0, init=False)

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get(POSTS, self._posts)
        app.router.add_get(USERS, self._users)
        app.router.add_put(POSTS, self._put_posts)
        app.router.add_put("/faults", self._put_faults)
        return app

    async def _posts(self, request: web.Request) -> web.Response:
        items = [dict(post) for post in self.posts]
        fault = self._fault()
        body = _json(_with_fault(items, fault, "id"))
        return await self._answer(request, body, fault, conditional=True)

    async def _users(self, request: web.Request) -> web.Response:
        try:
            count = int(request.query.get("results", "1"))
        except ValueError:
            count = 0
        if not 1 <= count <= MOST_USERS:
            return self._counted(request, web.json_response({"error": "results from 1 to 5000"}, status=400))
        seed = self.seed if self.same_people else self.seed + self._drawn
        self._drawn += 1
        people = sample_users(count, seed=seed)
        fault = self._fault()
        info = {"seed": f"{seed:016x}", "results": count, "page": 1, "version": "1.4"}
        if fault in ("duplicates", "repeats"):
            info["results"] = count + 1
        body = _json({"results": _with_fault(people, fault, "login"), "info": info})
        return await self._answer(request, body, fault, conditional=False)

    async def _put_posts(self, request: web.Request) -> web.Response:
        self.posts = await request.json()
        return web.json_response({"posts": len(self.posts)})

    async def _put_faults(self, request: web.Request) -> web.Response:
        try:
            self.faults = RecordsFaults(**await request.json())
        except (ConfigError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        self._spoilt = 0
        return web.json_response(asdict(self.faults))

    def _fault(self) -> str | None:
        if self.faults.kind is None or (self.faults.first is not None and self._spoilt >= self.faults.first):
            return None
        self._spoilt += 1
        return self.faults.kind

    async def _answer(
        self, request: web.Request, body: bytes, fault: str | None, *, conditional: bool
    ) -> web.Response:
        statuses = {"server_error": 500, "throttle": 429, "not_found": 404}
        if fault in statuses:
            return self._counted(request, web.Response(status=statuses[fault], text="no"))
        if fault == "error_page":
            return self._counted(request, web.Response(body=PAGE, content_type="text/html"))
        if fault == "error_object":
            return self._counted(request, web.json_response({"error": "Uh oh, something has gone wrong."}))
        if fault == "slow":
            await asyncio.sleep(self.faults.slow_s)
        if fault == "invalid_json":
            body = body[: len(body) // 2]
        response = web.Response(body=body, content_type="application/json")
        if conditional:
            tag = hashlib.sha256(body).hexdigest()[:16]
            if any(known.value == tag for known in request.if_none_match or ()):
                response = web.Response(status=304)
            response.etag = ETag(tag, is_weak=True)
        return self._counted(request, response)

    def _counted(self, request: web.Request, response: web.Response) -> web.Response:
        self.answers[request.path, response.status] += 1
        return response


@contextlib.contextmanager
def running_records_api(api: RecordsApi | None = None, *, port: int = 0) -> Iterator[tuple[str, RecordsApi]]:
    """Run the API in a thread of this process, on a free port by default; yield its URL and the API."""
    served = api or RecordsApi()
    with running_emulator(lambda: app_runner(served.app()), "records API", port) as url:
        yield url, served


def _with_fault(items: list[dict[str, Any]], fault: str | None, id_field: str) -> list[dict[str, Any]]:
    if not items:
        return items
    if fault == "fewer_items":
        return items[:-1]
    if fault == "repeats":
        return [*items, items[0]]
    if fault == "duplicates":
        changed = {**items[0], "title": "another title", "email": "other@example.com"}
        return [*items, changed]
    if fault == "missing_ids":
        return [{name: value for name, value in items[0].items() if name != id_field}, *items[1:]]
    return items


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


_WORDS = (
    "sunt",
    "aut",
    "facere",
    "repellat",
    "provident",
    "occaecati",
    "excepturi",
    "optio",
    "quia",
    "et",
    "suscipit",
)
_FIRST = {
    "female": ("Ana", "Zoé", "Ngozi", "Mei", "Åsa", "Fatma"),
    "male": ("Luis", "Jürgen", "Tunde", "Wei", "Óscar", "Emre"),
}
_LAST = ("García", "Müller", "Okafor", "Chen", "Lindqvist", "Yılmaz", "O'Brien", "D’Angelo")
_COUNTRIES = ("Argentina", "Germany", "Nigeria", "China", "Sweden", "Türkiye", "Ireland", "Italy")


def sample_posts(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Generate posts with the ids 1 to `count`, ten per user; bodies have newlines."""
    draw = random.Random(seed)
    return [
        {
            "userId": (number - 1) // 10 + 1,
            "id": number,
            "title": " ".join(draw.choices(_WORDS, k=6)),
            "body": "\n".join(" ".join(draw.choices(_WORDS, k=8)) for _ in range(4)),
        }
        for number in range(1, count + 1)
    ]


def sample_users(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Generate users like those of randomuser.me, with the fields that are read; another seed gives others."""
    draw = random.Random(f"users {seed}")
    return [_user(draw) for _ in range(count)]


def _user(draw: random.Random) -> dict[str, Any]:
    gender = draw.choice(("female", "male"))
    first, last = draw.choice(_FIRST[gender]), draw.choice(_LAST)
    number = draw.randrange(10_000)
    return {
        "gender": gender,
        "name": {"title": "Ms" if gender == "female" else "Mr", "first": first, "last": last},
        "location": {
            "city": "Springfield",
            "country": draw.choice(_COUNTRIES),
            # The real service mixes numbers and strings here too.
            "postcode": number if number % 3 else f"{number:05d}",
        },
        "email": f"user{number}@example.com",
        "login": {"uuid": str(uuid.UUID(int=draw.getrandbits(128), version=4)), "username": f"user{number}"},
    }
