"""Objects in an S3 bucket, read and written through obstore."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import obstore
from obstore.exceptions import BaseError

from tnt_platform.errors import NotFound, SwapLost, TntError, Unavailable
from tnt_platform.storage.bucket_options import checked_options, open_store, paging_client
from tnt_platform.storage.keys import Pointer, shown
from tnt_platform.storage.object_errors import has_invalid_key, translated

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta, PutMode

Result = TypeVar("Result")

ATTEMPTS = 3  # whole reads and uploads, on top of obstore's retries of single requests
SWAP_ATTEMPTS = 8
_LIST_BATCH = 10_000
_PART_BYTES = 8 * 1024 * 1024
_PARTS_IN_FLIGHT = 4


class Bucket:
    """The objects of one bucket under one key prefix."""

    def __init__(
        self, name: str, prefix: str, options: Mapping[str, str], *, jitter: Callable[[], float]
    ) -> None:
        self.name = name
        self.prefix = f"{prefix}/" if prefix else ""
        self.options = checked_options(options)
        self._jitter = jitter
        with translated("opening", f"s3://{name}/{prefix}"):
            self._store = open_store(name, self.options)

    def where(self, key: str) -> str:
        return f"s3://{self.name}/{self.prefix}{key}"

    def open_body(self, key: str) -> BucketBody:
        """Send a GET; the body of the response is still to be read."""
        with translated("reading", self.where(key)):
            return BucketBody(self, key, obstore.get(self._store, self.prefix + key))

    def get(self, key: str) -> bytes:
        return self._attempted(lambda: self.open_body(key).read_once())

    def get_to_file(self, key: str, path: Path) -> int:
        return self._attempted(lambda: self.open_body(key).write_once(path))

    def read_pointer(self, key: str) -> Pointer | None:
        try:
            return self._attempted(lambda: self.open_body(key).pointer_once())
        except NotFound:
            return None

    def put(self, key: str, data: bytes) -> None:
        self._attempted(lambda: self._upload(key, data))

    def put_file(self, key: str, path: Path) -> int:
        self._attempted(lambda: self._upload(key, path))
        return path.stat().st_size

    def compare_and_swap(self, key: str, *, expected: Pointer | None, new: bytes) -> Pointer:
        """Create or replace the pointer; after a rejection or a lost response, read it again to learn which it was."""
        mode: PutMode = "create" if expected is None else {"e_tag": expected.etag}
        failure: TntError | None = None
        for attempt in range(SWAP_ATTEMPTS):
            self._pause(attempt)
            try:
                return self._put_pointer(key, new, mode)
            except (SwapLost, Unavailable, NotFound) as error:
                failure = error
            current = self.read_pointer(key)
            if current is not None and current.value == new:
                return current  # our write landed although its response was lost, or its retry was rejected
            if (current and current.etag) != (expected and expected.etag):
                raise SwapLost(
                    f"swapping {self.where(key)}: it holds {shown(current)}, expected {shown(expected)}; "
                    "another writer was first: read it again and retry"
                ) from failure
            # A 409, or a 412 that is over by now: the pointer is still as expected, so try again.
        raise Unavailable(
            f"swapping {self.where(key)}: undecided after {SWAP_ATTEMPTS} attempts; "
            f"read it again before the next publish ({failure})"
        ) from failure

    def walk(self, prefix: str) -> Iterator[Sequence[ObjectMeta]]:
        """Yield batches of the objects whose key starts with `prefix`, sorted by key."""
        last = ""
        with translated("listing", self.where(prefix)):
            try:
                for batch in self._walk_plain(self.prefix + prefix):
                    yield batch
                    last = batch[-1]["path"] if batch else last
            except (BaseError, ValueError) as error:
                if not has_invalid_key(error):
                    raise
                for page in self._pages(self.prefix + prefix, StartAfter=last):
                    yield _metas(page)

    def level(self, prefix: str) -> tuple[Sequence[ObjectMeta], list[str]]:
        """List one folder: the objects directly in it, and the names of its folders."""
        whole = (self.prefix + prefix).rstrip("/")
        with translated("listing", self.where(prefix)):
            try:
                found = obstore.list_with_delimiter(self._store, whole or None)
                files, folders = found["objects"], found["common_prefixes"]
            except (BaseError, ValueError) as error:
                if not has_invalid_key(error):
                    raise
                pages = list(self._pages(f"{whole}/" if whole else "", Delimiter="/"))
                files = [meta for page in pages for meta in _metas(page)]
                folders = [f["Prefix"].rstrip("/") for page in pages for f in page.get("CommonPrefixes", [])]
        return files, sorted(path.rpartition("/")[2] for path in folders)

    def exists(self, key: str) -> bool:
        try:
            with translated("checking for", self.where(key)):
                obstore.head(self._store, self.prefix + key)
        except NotFound:
            return False
        return True

    def delete(self, keys: Sequence[str]) -> None:
        with translated(f"deleting {len(keys)} objects under", self.where("")), suppress(FileNotFoundError):
            obstore.delete(self._store, [self.prefix + key for key in keys])

    def _walk_plain(self, whole: str) -> Iterator[Sequence[ObjectMeta]]:
        folder, _, rest = whole.rpartition("/")
        if not rest:
            yield from obstore.list(self._store, folder or None, chunk_size=_LIST_BATCH)
            return
        # object_store lists whole folders only: start at the prefix, and stop once past it.
        with suppress(FileNotFoundError):
            yield [obstore.head(self._store, whole)]
        for batch in obstore.list(self._store, folder or None, offset=whole, chunk_size=1000):
            inside = [meta for meta in batch if meta["path"].startswith(whole)]
            yield inside
            if len(inside) < len(batch):
                return

    def _pages(self, whole: str, **parameters: str) -> Iterator[dict[str, Any]]:
        """List without object_store, which stops at a key such as `raw//a.txt`.

        One misnamed upload must not stop the discovery of all other files.
        """
        pages = paging_client(self.options).get_paginator("list_objects_v2")
        yield from pages.paginate(Bucket=self.name, Prefix=whole, **parameters)

    def _put_pointer(self, key: str, new: bytes, mode: PutMode) -> Pointer:
        with translated("swapping", self.where(key)):
            etag = obstore.put(self._store, self.prefix + key, new, mode=mode)["e_tag"]
        if etag is None:
            raise Unavailable(
                f"swapping {self.where(key)}: the store gave no ETag; use a store that has them"
            )
        return Pointer(new, etag)

    def _upload(self, key: str, source: bytes | Path) -> None:
        try:
            with translated("writing", self.where(key)):
                obstore.put(
                    self._store,
                    self.prefix + key,
                    source,
                    chunk_size=_PART_BYTES,
                    max_concurrency=_PARTS_IN_FLIGHT,
                )
        except NotFound as error:
            # A multipart upload completed twice, because the first response was lost, is unknown to S3.
            raise Unavailable(str(error)) from error

    def _attempted(self, call: Callable[[], Result]) -> Result:
        for attempt in range(ATTEMPTS - 1):
            try:
                return call()
            except Unavailable:
                self._pause(attempt + 1)
        return call()

    def _pause(self, attempt: int) -> None:
        if attempt:
            time.sleep(self._jitter() * min(2.0, 0.02 * 2**attempt))


class BucketBody:
    """The headers of an object, and its body, which has not been read yet."""

    def __init__(self, bucket: Bucket, key: str, response: GetResult) -> None:
        self._bucket = bucket
        self._key = key
        self._response = response
        self.size_bytes: int = response.meta["size"]

    def read(self) -> bytes:
        """Return the whole body; request it again if the transfer breaks."""
        try:
            return self.read_once()
        except Unavailable:
            return self._bucket.get(self._key)

    def read_once(self) -> bytes:
        with translated("reading", self._bucket.where(self._key)):
            body = self._response.bytes().to_bytes()
        self._require_whole(len(body))
        return body

    def pointer_once(self) -> Pointer:
        return Pointer(self.read_once(), self._response.meta["e_tag"] or "")

    def write_once(self, path: Path) -> int:
        written = 0
        with translated("reading", self._bucket.where(self._key)), path.open("wb") as file:
            for chunk in self._response.stream(min_chunk_size=_PART_BYTES):
                written += file.write(chunk)
        self._require_whole(written)
        return written

    def _require_whole(self, received: int) -> None:
        if received != self.size_bytes:
            raise Unavailable(
                f"reading {self._bucket.where(self._key)}: {received} of {self.size_bytes} bytes; try again"
            )


def _metas(page: dict[str, Any]) -> list[ObjectMeta]:
    return [
        {
            "path": found["Key"],
            "e_tag": found["ETag"],
            "size": found["Size"],
            "last_modified": found["LastModified"],
            "version": None,
        }
        for found in page.get("Contents", [])
        if not found["Key"].endswith("/")  # a console's folder marker
    ]
