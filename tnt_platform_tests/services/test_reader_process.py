"""A file that breaks its reader costs that file, whatever it does."""

from __future__ import annotations

import os
import signal
import time

import polars as pl
import pytest

from tnt_platform.errors import ConfigError, InvalidInput
from tnt_platform.services import reader_process
from tnt_platform.services.reader_process import ReaderProcess


def read(what: str) -> int:
    """A reader that does what its file is called."""
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "panics":
        raise pl.exceptions.PanicException("a bug in the engine")
    if what == "hangs":
        time.sleep(3_600)
    if what == "fails":
        raise ZeroDivisionError("a bug in the reader")
    if what == "unreadable":
        raise InvalidInput("odd_layout", "nobody knows this layout")
    if what == "misconfigured":
        raise ConfigError("the YAML is wrong")
    return len(what)


def test_one_broken_file_after_the_other_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_process, "TIMEOUT_S", 5)
    with ReaderProcess() as reader:
        for what in ("killed", "panics", "fails", "hangs"):
            with pytest.raises(InvalidInput) as refused:
                reader.call(read, what)
            assert refused.value.reason_code == "reader_crashed"
            assert reader.call(read, "good") == 4
        with pytest.raises(InvalidInput) as refused:
            reader.call(read, "unreadable")
        assert refused.value.reason_code == "odd_layout"


def test_what_is_not_the_files_fault_is_raised_as_it_is() -> None:
    with ReaderProcess() as reader, pytest.raises(ConfigError):
        reader.call(read, "misconfigured")
