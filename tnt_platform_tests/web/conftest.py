"""A furnished lake and its server, once for the tests of this folder that only read."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tnt_platform_tests.web.fake_dagster import fake_dagster
from tnt_platform_tests.web.running import running
from tnt_platform_tests.web.scene import Lake, furnished


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return furnished(tmp_path_factory.mktemp("web"))


@pytest.fixture(scope="session")
def address(lake: Lake) -> Iterator[str]:
    with fake_dagster() as dagster:
        addresses = {"TNT_DAGSTER_URL": "http://127.0.0.1:3000", "TNT_DAGSTER_API_URL": dagster.url}
        with running({**lake.environment, **addresses}) as url:
            yield url


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client
