"""Read files one at a time in a child process, so that one that crashes or hangs its reader costs that file alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final, ParamSpec, TypeVar

import polars as pl

from tnt_platform.errors import InvalidInput, TntError

READER_CRASHED: Final = "reader_crashed"
# A file that takes longer alone counts as the one that breaks the run.
TIMEOUT_S: Final = 600

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ReaderProcess:
    """A child process that is replaced by another one when a file breaks it."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> ReaderProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def call(self, read: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Read one file.

        Raises:
            InvalidInput: what `read` raises; reader_crashed if it fails in any other way, is killed or hangs.
            TntError: what else `read` raises on purpose, which is not the file's fault.
        """
        self._pool = self._pool or ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        try:
            return self._pool.submit(read, *args, **kwargs).result(timeout=TIMEOUT_S)
        except TntError:
            raise
        except TimeoutError:
            self._stop()
            reason = f"reading this file alone took more than {TIMEOUT_S} s"
        except BrokenProcessPool:
            self._stop()
            reason = "the process that read this file alone was killed, most likely by its memory use"
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001  (the other files must go on)
            reason = f"reading this file alone failed: {type(error).__name__}: {error}"
        raise InvalidInput(READER_CRASHED, f"{reason}; look at the file, then run the date again")

    def _stop(self) -> None:
        if self._pool is None:
            return
        for process in (self._pool._processes or {}).values():  # no public way to stop one that hangs
            process.kill()
        self._pool.shutdown()
        self._pool = None
