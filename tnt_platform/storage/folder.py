"""Objects in a local folder: every write is durable before it is visible, every swap is exclusive.

obstore's own local store is not used: it has no conditional update, writes without fsync, refuses names
such as `report#1`, and hides them in its listing.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from tnt_platform.errors import NotFound, SwapLost, Unavailable
from tnt_platform.storage.keys import SIDE_FOLDER, Pointer, shown
from tnt_platform.storage.object_errors import translated

LOCK_TIMEOUT_S = 30.0
_LOCK_POLL_S = 0.005

ListedObject = tuple[str, str, int, datetime]  # key, etag, size_bytes, last_modified
_FolderToScan = tuple[str, tuple[str, ...]]  # its path under the root, and the symbolic links on the way


class Folder:
    """The objects under one folder of the local file system."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        return self.root / key

    def where(self, key: str) -> str:
        return str(self.path(key))

    def get(self, key: str) -> bytes:
        with translated("reading", self.where(key)), self._open(key) as file:
            return file.read()

    def get_to_file(self, key: str, path: Path) -> int:
        with translated("copying", self.where(key)), self._open(key) as source:
            with path.open("wb") as target:
                shutil.copyfileobj(source, target, 1024 * 1024)
            return path.stat().st_size

    def read_pointer(self, key: str) -> Pointer | None:
        try:
            with translated("reading", self.where(key)), self._open(key) as file:
                return Pointer(file.read(), etag_of(os.fstat(file.fileno())))
        except NotFound:
            return None

    def put(self, key: str, data: bytes) -> None:
        with translated("writing", self.where(key)), self._new_file(key) as file:
            file.write(data)

    def put_file(self, key: str, path: Path) -> int:
        """Move `path` here if it is on this file system, else copy it."""
        with translated("moving a file to", self.where(key)):
            size_bytes = path.stat().st_size
            with path.open("rb") as file:
                os.fsync(file.fileno())
            try:
                self._rename(path, self.path(key))
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                with path.open("rb") as source, self._new_file(key) as target:
                    shutil.copyfileobj(source, target, 1024 * 1024)
            return size_bytes

    def compare_and_swap(self, key: str, *, expected: Pointer | None, new: bytes) -> Pointer:
        with translated("swapping", self.where(key)), self._locked(key):
            current = self.read_pointer(key)
            if (current and current.value) != (expected and expected.value):
                if current is not None and current.value == new:
                    return current
                raise SwapLost(
                    f"swapping {self.where(key)}: it holds {shown(current)}, expected {shown(expected)}; "
                    "another writer was first: read it again and retry"
                )
            self.put(key, new)
            return Pointer(new, etag_of(self.path(key).stat()))

    def walk(self, prefix: str) -> Iterator[list[ListedObject]]:
        """Yield one unordered batch of objects per folder, without files that vanish meanwhile."""
        with translated("listing", self.where(prefix)):
            pending: list[_FolderToScan] = [(prefix.rpartition("/")[0], ())]
            while pending:
                name, seen = pending.pop()
                files, folders = self._scan(name, prefix, seen)
                pending.extend(folders)
                if files:
                    yield files

    def level(self, prefix: str) -> tuple[list[ListedObject], list[str]]:
        """List one folder as S3 does: the objects directly in it, and its folders that are not empty."""
        with translated("listing", self.where(prefix)):
            files, folders = self._scan(prefix.rstrip("/"), "", ())
            return files, sorted(path.rpartition("/")[2] for path, _ in folders if any(self.walk(f"{path}/")))

    def exists(self, key: str) -> bool:
        with translated("checking for", self.where(key)):
            return self.path(key).is_file()

    def delete(self, keys: list[str]) -> None:
        for key in keys:
            with translated("deleting", self.where(key)):
                with suppress(FileNotFoundError, NotADirectoryError):
                    self.path(key).unlink()
                self._remove_empty_folders(self.path(key).parent)

    def _open(self, key: str) -> IO[bytes]:
        try:
            return self.path(key).open("rb")
        except (IsADirectoryError, NotADirectoryError) as error:
            raise FileNotFoundError(f"no object at {self.where(key)}") from error

    @contextmanager
    def _new_file(self, key: str) -> Iterator[IO[bytes]]:
        """Open a file that becomes visible under `key`, whole and on disk, if the block succeeds."""
        temporary = self._side_path("writing", f"{os.getpid()}-{os.urandom(8).hex()}")
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            self._rename(temporary, self.path(key))
        finally:
            temporary.unlink(missing_ok=True)

    def _rename(self, source: Path, target: Path) -> None:
        while True:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                source.replace(target)
                break
            except FileNotFoundError:
                # A delete may have removed the empty folder between our mkdir and our rename.
                if not source.exists():
                    raise
        _sync_folder(target.parent)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        path = self._side_path("locks", hashlib.sha256(key.encode()).hexdigest()[:32])
        with path.open("ab") as file:
            deadline_s = time.monotonic() + LOCK_TIMEOUT_S
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline_s:
                        raise Unavailable(
                            f"swapping {self.where(key)}: {path} was locked for {LOCK_TIMEOUT_S:.0f} s; "
                            "find the stopped process that holds it"
                        ) from None
                    time.sleep(_LOCK_POLL_S)
            yield  # closing the file releases the lock

    def _side_path(self, kind: str, name: str) -> Path:
        folder = self.root / SIDE_FOLDER / kind
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def _scan(
        self, folder: str, prefix: str, seen: tuple[str, ...]
    ) -> tuple[list[ListedObject], list[_FolderToScan]]:
        files: list[ListedObject] = []
        folders: list[_FolderToScan] = []
        try:
            entries = list(os.scandir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return files, folders
        for entry in entries:
            name = _name_in_utf8(entry.name)
            key = f"{folder}/{name}" if folder else name
            if key == SIDE_FOLDER or not (key.startswith(prefix) or prefix.startswith(key + "/")):
                continue
            with _vanished_entries_left_out():
                if entry.is_dir():
                    if (symlinks := _symlinks_followed(entry, seen)) is not None:
                        folders.append((key, symlinks))
                elif entry.is_file():
                    status = entry.stat()
                    files.append((key, etag_of(status), status.st_size, _modified_at(status)))
        return files, folders

    def _remove_empty_folders(self, folder: Path) -> None:
        while folder != self.root and self.root in folder.parents:
            try:
                folder.rmdir()
            except OSError:
                return  # not empty, or already removed
            folder = folder.parent


def etag_of(status: os.stat_result) -> str:
    """Return inode, times of modification and of change (us) and size, in hex and in quotes.

    Whoever overwrites a file in place can set its modification time back, but not the time of that change.
    """
    times = f"{status.st_mtime_ns // 1000:x}-{status.st_ctime_ns // 1000:x}"
    return f'"{status.st_ino:x}-{times}-{status.st_size:x}"'


def _modified_at(status: os.stat_result) -> datetime:
    seconds, microseconds = divmod(status.st_mtime_ns // 1000, 1_000_000)
    return datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=microseconds)


def _symlinks_followed(entry: os.DirEntry[str], seen: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the symbolic links on the way to this folder, or None if following it would never end."""
    if not entry.is_symlink():
        return seen
    real = os.path.realpath(entry.path)
    above = os.path.realpath(Path(entry.path).parent)
    return None if real in seen or f"{above}/".startswith(f"{real}/") else (*seen, real)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name_in_utf8(name: str) -> str:
    """Replace each byte that is not UTF-8 by a control character and its hex: no one can open such a key.

    The file is listed all the same, so that discovery reports it and reads the others.
    """
    return "".join(f"\x1a{ord(char) - 0xDC00:02X}" if "\udc80" <= char <= "\udcff" else char for char in name)


@contextmanager
def _vanished_entries_left_out() -> Iterator[None]:
    """Leave out a file that was removed meanwhile, and a link that leads nowhere or to itself."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):
            raise
