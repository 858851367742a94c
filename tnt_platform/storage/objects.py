"""The objects of one bucket prefix or folder: all access to stored bytes goes through here."""

from __future__ import annotations

import os
import threading
from builtins import list as List  # noqa: N812 - `Objects.list` hides the builtin inside the class
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import polars as pl

from tnt_platform.errors import ConfigError, SwapLost
from tnt_platform.storage.bucket import Bucket
from tnt_platform.storage.bucket_options import polars_options
from tnt_platform.storage.folder import Folder
from tnt_platform.storage.keys import SIDE_FOLDER, Pointer, checked_key, checked_prefix
from tnt_platform.storage.listing import LISTING_SCHEMA, bucket_listing, folder_listing
from tnt_platform.storage.prefetch import MAX_BYTES_AHEAD, read_ahead

__all__ = ["LISTING_SCHEMA", "Objects", "Pointer", "RequestCounts"]

_PAGE_KEYS = 1000  # per LIST response and per bulk DELETE
_PART_BYTES = 8 * 1024 * 1024
_NO_ETAG = '"0123456789abcdef0123456789abcdef"'


@dataclass
class RequestCounts:
    """Requests to the store, without retries, for the cost shown with each publish."""

    reads: int = 0
    writes: int = 0
    lists: int = 0
    bytes_read: int = 0
    bytes_written: int = 0


def _unpredictable() -> float:
    return int.from_bytes(os.urandom(4), "big") / 2**32


class Objects:
    """The objects of one bucket prefix or folder; safe to share between threads, not across a fork.

    Every call raises NotFound, Refused or Unavailable, which name what was tried, where, and how to fix it.
    A key is a relative path such as `raw/2026-11-20/A 1.txt`, without `..`, leading `/` or empty parts.
    """

    def __init__(self, url: str, store: Bucket | Folder) -> None:
        self.url = url
        self.requests = RequestCounts()
        self._store = store
        self._counting = threading.Lock()
        self._preconditions_hold = False

    @classmethod
    def open(
        cls,
        url: str,
        *,
        options: Mapping[str, str] | None = None,
        jitter: Callable[[], float] = _unpredictable,
    ) -> Objects:
        """Open `file:///absolute/folder` or `s3://bucket/prefix` without a request yet.

        Args:
            options: for S3: endpoint, region, access_key_id, secret_access_key, session_token, profile,
                virtual_hosted_style_request, timeouts (`read_timeout_s` ...). Without keys, the
                default AWS credential chain is used.
            jitter: a number in [0, 1) that spreads retries.

        Raises:
            ConfigError: the URL or an option is invalid.
        """
        parts = urlsplit(url.replace("#", "%23").replace("?", "%3F"))
        path = unquote(parts.path).rstrip("/")
        if parts.scheme == "file" and not parts.netloc and path.startswith("/"):
            return cls(url, Folder(Path(path)))
        if parts.scheme == "s3" and parts.netloc:
            return cls(url, Bucket(parts.netloc, path.strip("/"), options or {}, jitter=jitter))
        raise ConfigError(
            f"store URL {url!r} is invalid; write file:///absolute/folder or s3://bucket/prefix"
        )

    def __repr__(self) -> str:
        return f"Objects({self.url!r})"

    def get(self, key: str) -> bytes:
        """Return the whole object."""
        body = self._store.get(checked_key(key))
        self._count(reads=1, bytes_read=len(body))
        return body

    def read_pointer(self, key: str) -> Pointer | None:
        """Return the pointer with the etag that a later swap expects; None if there is none."""
        pointer = self._store.read_pointer(checked_key(key))
        self._count(reads=1, bytes_read=len(pointer.value) if pointer else 0)
        return pointer

    def get_many(
        self, keys: Sequence[str], *, concurrency: int = 64, max_bytes: int = MAX_BYTES_AHEAD
    ) -> Iterator[tuple[str, bytes]]:
        """Yield (key, body) in the order of `keys`, reading ahead within `concurrency` and `max_bytes`."""
        for key in keys:
            checked_key(key)
        found: Iterator[tuple[str, bytes]]
        if isinstance(self._store, Folder):
            found = ((key, self._store.get(key)) for key in keys)  # threads do not make local reads faster
        else:
            found = read_ahead(keys, self._store.open_body, concurrency=concurrency, max_bytes=max_bytes)
        for key, body in found:
            self._count(reads=1, bytes_read=len(body))
            yield key, body

    def get_to_file(self, key: str, path: Path) -> None:
        """Stream the object to `path`; after an error, `path` does not exist."""
        try:
            size_bytes = self._store.get_to_file(checked_key(key), path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._count(reads=1, bytes_read=size_bytes)

    def put(self, key: str, data: bytes) -> None:
        """Write or replace the object; readers see all of it or none."""
        self._store.put(checked_key(key), data)
        self._count(writes=_write_requests(self._store, len(data)), bytes_written=len(data))

    def put_file(self, key: str, path: Path) -> None:
        """Store a finished local file; don't use `path` afterwards, because a folder lake moves it."""
        size_bytes = self._store.put_file(checked_key(key), path)
        self._count(writes=_write_requests(self._store, size_bytes), bytes_written=size_bytes)

    def compare_and_swap(self, key: str, *, expected: Pointer | None, new: bytes) -> Pointer:
        """Replace a pointer if it is still `expected` (None: if there is none); the only way to move one.

        `new` must be unique to this writer, as version ids are: after a lost response, that is how the writer
        recognises its own write.

        Raises:
            SwapLost: the pointer is no longer what the caller read. Also raised in the rare case that our
                write landed unnoticed and another one followed.
            Unavailable: the outcome is unknown; read the pointer again.
        """
        pointer = self._store.compare_and_swap(checked_key(key), expected=expected, new=new)
        self._count(writes=1, bytes_written=len(new))
        return pointer

    def refuse_without_preconditions(self, folder: str) -> None:
        """Refuse a store that ignores If-Match or If-None-Match, with which a swap would overwrite another's.

        It is tried once, on an object of its own in `folder`.

        Raises:
            ConfigError: two writers of one object were both told that they had won.
        """
        if self._preconditions_hold:
            return
        key = f"{folder}probe-{os.urandom(8).hex()}.txt"
        first = self.compare_and_swap(key, expected=None, new=b"first")
        try:
            for expected, header in ((None, "If-None-Match"), (Pointer(b"other", _NO_ETAG), "If-Match")):
                with suppress(SwapLost):
                    self.compare_and_swap(key, expected=expected, new=b"second")
                    raise ConfigError(
                        f"{self.url} ignores {header}: it let a second writer replace {key}, so publishes would be "
                        "lost; use a store with conditional writes (S3 has them, MinIO and Ceph do in newer releases)"
                    )
            self.compare_and_swap(key, expected=first, new=b"third")
        finally:
            self.delete([key])
        self._preconditions_hold = True

    def list(self, prefix: str) -> pl.DataFrame:
        """List every object whose key starts with `prefix`, which need not end with `/`.

        Returns:
            key (String, relative to `url`), etag (String), size_bytes (Int64),
            last_modified (Datetime[us, UTC]); sorted by key.
        """
        checked_prefix(prefix)
        if isinstance(self._store, Folder):
            listing = folder_listing(self._store.walk(prefix))
        else:
            listing = bucket_listing(self._store.walk(prefix), root=self._store.prefix, prefix=prefix)
        self._count(lists=1 + listing.height // _PAGE_KEYS)
        return listing

    def list_level(self, prefix: str) -> tuple[pl.DataFrame, List[str]]:
        """List one level of the folder `prefix` (empty, or ending with a slash).

        Returns:
            the objects directly in the folder, as `list` returns them, and the sorted names of its
            folders that hold objects.
        """
        checked_prefix(prefix)
        if isinstance(self._store, Folder):
            rows, names = self._store.level(prefix)
            files = folder_listing([rows])
        else:
            metas, names = self._store.level(prefix)
            files = bucket_listing([metas], root=self._store.prefix, prefix=prefix)
        self._count(lists=1 + (files.height + len(names)) // _PAGE_KEYS)
        return files, [name for name in names if prefix or name != SIDE_FOLDER]

    def list_folders(self, prefix: str) -> List[str]:
        """List the names of the folders one level below `prefix` that hold objects, sorted."""
        return self.list_level(prefix)[1]

    def exists(self, key: str) -> bool:
        """Return whether the object exists."""
        found = self._store.exists(checked_key(key))
        self._count(reads=1)
        return found

    def delete(self, keys: Sequence[str]) -> None:
        """Delete these objects; one that does not exist is not an error."""
        if keys:
            self._store.delete([checked_key(key) for key in keys])
            self._count(writes=1 + len(keys) // _PAGE_KEYS)

    def polars_url(self, key: str) -> str:
        """Return the URL by which polars reads this object with `polars_options()`; pass glob=False to polars."""
        return self._store.where(checked_key(key))

    def polars_options(self) -> dict[str, str] | None:
        """Return storage_options for polars, or None for a folder. They may hold secrets: never log them."""
        return None if isinstance(self._store, Folder) else polars_options(self._store.options)

    def _count(self, **added: int) -> None:
        with self._counting:
            for name, amount in added.items():
                setattr(self.requests, name, getattr(self.requests, name) + amount)


def _write_requests(store: Bucket | Folder, size_bytes: int) -> int:
    if isinstance(store, Folder) or size_bytes <= _PART_BYTES:
        return 1
    return 2 + -(-size_bytes // _PART_BYTES)  # create, parts, complete
