"""Made-up posts and people in the shape of the real services, the same for the same seed."""

from __future__ import annotations

import random
import uuid
from typing import Any

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
    """Posts with the ids 1 to `count`, ten of each user; bodies have newlines."""
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
    """People as randomuser.me gives them, as far as anybody reads them; other ones for another seed."""
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
            # The real service mixes numbers and texts here too.
            "postcode": number if number % 3 else f"{number:05d}",
        },
        "email": f"user{number}@example.com",
        "login": {"uuid": str(uuid.UUID(int=draw.getrandbits(128), version=4)), "username": f"user{number}"},
    }
