"""One damaged dataset is one failing dataset: in the API, on the pages, in the metrics and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from starlette.testclient import TestClient

from tnt_platform.cli.main import main
from tnt_platform.lake import naming
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects
from tnt_platform.web.app import create_app
from tnt_platform_tests.lake.changes import KEY, change, store_on

GOOD, DAMAGED = "good/rows", ("bad/manifest", "bad/pointer")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake with a sound dataset, one whose manifest is cut, and one whose pointer names nothing."""
    monkeypatch.delenv("TNT_LAKE_URL", raising=False)
    monkeypatch.setenv("TNT_HOME", str(tmp_path))
    objects = Objects.open((tmp_path / "lake").as_uri())
    store = store_on(objects, tmp_path / "scratch")
    for name in (GOOD, *DAMAGED):
        snapshot = store.publish(name, base=None, changes=[change("2026-11-18", {"a": 1})], key=KEY)
        if name == "bad/manifest":
            objects.put(naming.manifest_key(name, snapshot.version), b"{")
    objects.put(naming.pointer_key("bad/pointer"), b"garbage")
    return tmp_path


@pytest.fixture
def client(home: Path) -> Iterator[TestClient]:
    settings = Settings.from_environment({"TNT_HOME": str(home)})
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8800") as found:
        yield found


def tnt(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize(
    "path", ["/datasets", "/", "/metrics", "/ui/health", "/ui/datasets", "/records", f"/datasets/{GOOD}"]
)
def test_every_page_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_the_health_page_and_the_metrics_name_the_damaged_ones(client: TestClient) -> None:
    page, metrics = client.get("/ui/health").text, client.get("/metrics").text
    for name in DAMAGED:
        assert name in page
        assert f'tnt_dataset_damaged{{dataset="{name}"}} 1.0' in metrics
        assert client.get(f"/datasets/{name}").status_code in (404, 500)
    assert f'tnt_dataset_damaged{{dataset="{GOOD}"}} 0.0' in metrics


@pytest.mark.parametrize("command", ["versions", "verify", "expire"])
def test_a_command_for_all_datasets_does_the_others_and_exits_with_1(home: Path, command: str) -> None:
    result = tnt(command, "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert set(document["damaged"]) == set(DAMAGED)
    assert GOOD in tnt(command).stdout


def test_a_lake_in_which_nothing_can_be_read_is_an_error(home: Path, client: TestClient) -> None:
    objects = Objects.open((home / "lake").as_uri())
    objects.put(naming.pointer_key(GOOD), b"garbage")
    assert client.get("/datasets").status_code >= 400
