"""Store claims on leases in a local folder: one JSON file per key, for processes of one machine."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from tnt_platform.errors import ConfigError, PermanentError, Refused, Unavailable
from tnt_platform.services.claims import Claim

LOCK_TIMEOUT_S = 30.0
_LOCK_POLL_S = 0.005
_NAME_BYTES = 230  # a file name may have 255, and ours get an ending
_NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


class FileClaims:
    """A folder of claims: `<key, percent-encoded>.json`, beside it a `.lock` that is never deleted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str) -> Claim | None:
        """See `Claims.read`.

        Raises:
            PermanentError: the file is not a claim.
            ConfigError, Refused, Unavailable: the file cannot be read.
        """
        path = self._path(key)
        with _translated("reading", path):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return None
        return _claim(path, data)

    def write(self, key: str, claim: Claim, *, over: Claim | None, if_not_renewed: bool = False) -> bool:
        """See `Claims.write`.

        Raises:
            PermanentError: the file is not a claim.
            ConfigError, Refused, Unavailable: the file cannot be read or written, or stays locked.
        """
        path = self._path(key)
        with _translated("writing", path):
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(path.with_suffix(".lock")):
                if not _is(over, self.read(key), if_not_renewed):
                    return False
                _replace(path, json.dumps(_content(key, claim), indent=1).encode())
                return True

    def _path(self, key: str) -> Path:
        name = quote(key, safe="")
        if len(name) > _NAME_BYTES:
            raise ConfigError(f"lease key {key!r} is too long for a file name: shorten the dataset's id")
        return self.folder / f"{name}.json"


def _is(over: Claim | None, stored: Claim | None, if_not_renewed: bool) -> bool:
    if over is None or stored is None:
        return over is stored
    same = (over.owner, over.token) == (stored.owner, stored.token)
    return same and (not if_not_renewed or over.expires_at == stored.expires_at)


def _content(key: str, claim: Claim) -> dict[str, object]:
    return {
        "lock_key": key,
        "owner": claim.owner,
        "token": claim.token,
        "claim_id": claim.claim_id,
        "acquired_at": claim.acquired_at.isoformat(),
        "expires_at": claim.expires_at.isoformat(),
    }


def _claim(path: Path, data: bytes) -> Claim:
    try:
        content = json.loads(data)
        owner = content["owner"]
        return Claim(
            owner=None if owner is None else str(owner),
            token=int(content["token"]),
            claim_id=str(content["claim_id"]),
            acquired_at=datetime.fromisoformat(content["acquired_at"]).astimezone(UTC),
            expires_at=datetime.fromisoformat(content["expires_at"]).astimezone(UTC),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise PermanentError(
            f"{path} is not a lease ({error!r}): delete it once no run works on the dataset"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        deadline_s = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise Unavailable(
                        f"{path} was locked for {LOCK_TIMEOUT_S:.0f} s; look for a suspended process that "
                        "holds it"
                    ) from None
                time.sleep(_LOCK_POLL_S)
        yield  # closing the file releases the lock


def _replace(path: Path, data: bytes) -> None:
    """Under the lock only: the temporary file has one name."""
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(doing: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"{doing} the lease {path}: {error.strerror or error}"
        if error.errno in _NO_ACCESS:
            raise Refused(f"{what}. Grant the process write access to the folder") from error
        raise Unavailable(f"{what}. Check that the disk is mounted and has space, then run again") from error
