"""The stores that tests run against: a folder, and the tests' own S3 server."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tnt_platform.storage.objects import Objects
from tnt_platform_tests.aws_emulator import aws_options, misbehaviour, moto_url, proxied_options, proxy
from tnt_platform_tests.rounds import tries
from tnt_platform_tests.s3_server import S3Server
from tnt_platform_tests.topic import topic

__all__ = ["aws_options", "misbehaviour", "moto_url", "proxied_options", "proxy", "topic"]

# How long an example takes depends on what else the machine does; it is no property of the code.
hypothesis.settings.register_profile("tnt", deadline=None, max_examples=tries(100))
hypothesis.settings.load_profile("tnt")


def pytest_collection_finish() -> None:
    """What the imports made stays: looking through it for garbage again and again takes a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def pytest_sessionfinish() -> None:
    """At the end everything may be let go of again."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _no_dagster_instance_is_left() -> Iterator[None]:
    """Dagster keeps the storage of the last instance in a context variable, also after its folder is gone."""
    yield
    if defs_state := sys.modules.get("dagster._core.storage.defs_state.base"):
        defs_state._current_storage.set(None)


@pytest.fixture
def s3_server() -> Iterator[S3Server]:
    """A server of this test's own, with `url`, `options`, `faults` and `counts`."""
    server = S3Server().start()
    yield server
    server.stop()


@pytest.fixture
def s3_objects(s3_server: S3Server) -> Objects:
    return Objects.open(f"{s3_server.url}/some/prefix", options=s3_server.options)


@pytest.fixture
def folder_objects(tmp_path: Path) -> Objects:
    return Objects.open((tmp_path / "lake").as_uri())


@pytest.fixture(params=["folder", "s3"])
def lake_objects(request: pytest.FixtureRequest) -> Objects:
    """The same test on both kinds of store."""
    return request.getfixturevalue(f"{request.param}_objects")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: what gzip makes holds the time, and two workers must agree on names."""
    return argname if isinstance(val, bytes) else None
