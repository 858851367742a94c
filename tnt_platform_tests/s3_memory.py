"""What the tests' S3 server keeps: buckets of objects in memory, with S3's own rules and no HTTP."""

from __future__ import annotations

import bisect
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime


class S3Error(Exception):
    """An answer other than success."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class StoredObject:
    data: bytes
    etag: str
    last_modified: datetime


@dataclass(frozen=True)
class Listing:
    objects: list[tuple[str, StoredObject]]
    prefixes: list[str]
    next_token: str | None


@dataclass
class MemoryBucket:
    """Objects by key, sorted as S3 sorts them (UTF-8 bytes); every method is atomic under one event loop."""

    clock: Callable[[], datetime]
    objects: dict[str, StoredObject] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    _order: list[tuple[bytes, str]] = field(default_factory=list)

    def get(self, key: str) -> StoredObject:
        try:
            return self.objects[key]
        except KeyError:
            raise S3Error(404, "NoSuchKey") from None

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_none_match: str | None = None,
        if_match: str | None = None,
        etag: str | None = None,
        last_modified: datetime | None = None,
    ) -> StoredObject:
        present = self.objects.get(key)
        if if_none_match == "*" and present is not None:
            raise S3Error(412, "PreconditionFailed")
        if if_match is not None and present is None:
            raise S3Error(404, "NoSuchKey")
        if if_match is not None and present is not None and if_match.strip('"') != present.etag.strip('"'):
            raise S3Error(412, "PreconditionFailed")
        modified = (last_modified or self.clock()).replace(microsecond=0)  # S3 keeps whole seconds
        stored = StoredObject(data, etag or f'"{hashlib.md5(data).hexdigest()}"', modified)
        self._place(key)
        self.objects[key] = stored
        return stored

    def fill(self, objects: dict[str, StoredObject]) -> None:
        """Add many at once (sorted once)."""
        self.objects.update(objects)
        self._order = sorted((key.encode(), key) for key in self.objects)

    def delete(self, key: str) -> None:
        if self.objects.pop(key, None) is not None:
            del self._order[bisect.bisect_left(self._order, (key.encode(), key))]

    def list(self, prefix: str, delimiter: str, after: str, max_keys: int) -> Listing:
        """One page; `after` is the last key or common prefix of the page before."""
        objects: list[tuple[str, StoredObject]] = []
        prefixes: list[str] = []
        index = bisect.bisect_left(self._order, (prefix.encode(), ""))
        if after:
            past = after + "\U0010ffff" if delimiter and after.endswith(delimiter) else after
            index = max(index, bisect.bisect_right(self._order, (past.encode(), past)))
        last = ""
        while index < len(self._order):
            key = self._order[index][1]
            if not key.startswith(prefix):
                break
            if len(objects) + len(prefixes) >= max_keys:
                return Listing(objects, prefixes, last)
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                last = key[: cut + len(delimiter)]
                prefixes.append(last)
                past = last + "\U0010ffff"
                index = bisect.bisect_right(self._order, (past.encode(), past), lo=index)
            else:
                last = key
                objects.append((key, self.objects[key]))
                index += 1
        return Listing(objects, prefixes, None)

    def create_upload(self) -> str:
        upload_id = secrets.token_hex(8)
        self.uploads[upload_id] = {}
        return upload_id

    def upload_part(self, upload_id: str, number: int, data: bytes) -> str:
        self._upload(upload_id)[number] = data
        return f'"{hashlib.md5(data).hexdigest()}"'

    def complete_upload(self, key: str, upload_id: str, numbers: list[int]) -> StoredObject:
        parts = self._upload(upload_id)
        if not numbers or any(number not in parts for number in numbers):
            raise S3Error(400, "InvalidPart")
        digests = b"".join(hashlib.md5(parts[number]).digest() for number in numbers)
        etag = f'"{hashlib.md5(digests).hexdigest()}-{len(numbers)}"'
        stored = self.put(key, b"".join(parts[number] for number in numbers), etag=etag)
        del self.uploads[upload_id]
        return stored

    def _upload(self, upload_id: str) -> dict[int, bytes]:
        try:
            return self.uploads[upload_id]
        except KeyError:
            raise S3Error(404, "NoSuchUpload") from None

    def _place(self, key: str) -> None:
        if key not in self.objects:
            bisect.insort(self._order, (key.encode(), key))
