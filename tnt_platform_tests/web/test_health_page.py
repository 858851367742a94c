"""The health page: failures as Dagster tells them, and what is shown when Dagster tells nothing or nonsense."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path

import httpx
import psutil
import pytest

from tnt_platform.cli.serving import with_local_dagster
from tnt_platform.settings import Settings
from tnt_platform.web import dagster_state
from tnt_platform.web.frames import PARTITIONS_READ
from tnt_platform_tests.web.fake_dagster import OTHER_RUN, RUN, FakeDagster, fake_dagster
from tnt_platform_tests.web.running import running
from tnt_platform_tests.web.scene import HOSTILE, Lake, refusals, transit_results
from tnt_platform_tests.web.waiting import eventually

UI = "http://127.0.0.1:3000"
PROBLEM = 'id="dagster-problem"'


@pytest.fixture
def dagster() -> Iterator[FakeDagster]:
    with fake_dagster() as found:
        yield found


def health(lake: Lake, dagster_url: str | None) -> str:
    """The page of a server of its own."""
    with running({**lake.environment, **({"TNT_DAGSTER_URL": dagster_url} if dagster_url else {})}) as url:
        return page(url)


def page(url: str) -> str:
    answer = httpx.get(f"{url}/ui/health", timeout=20)
    assert answer.status_code == 200
    return unescape(answer.text)


def test_failed_runs_are_shown_with_what_they_were_about_their_error_and_a_link(client: httpx.Client) -> None:
    raw = client.get("/ui/health").text
    text = unescape(raw)
    assert "transit: 2 of 5 dates failed" in text
    assert "2026-11-01 – 2026-11-05" in text
    assert "and 3 more" in text
    assert f'href="{UI}/runs/{OTHER_RUN}"' in text
    assert f'href="{UI}/runs/{RUN}"' in text
    assert "RuntimeError: boom" in text
    assert "posts/capture" in text
    assert HOSTILE not in raw
    assert text.count("far too long") < 30


def test_failed_checks_and_what_is_not_fresh_are_shown(client: httpx.Client) -> None:
    text = unescape(client.get("/ui/health").text)
    for name in ("captures_accepted", "was refused"):
        assert name in text
    for name in ("unique_keys", "items_conserved", "never_run"):
        assert name not in text, "it passed, or it never ran"
    late = text[text.index('id="freshness"') : text.index("<details", text.index('id="freshness"'))]
    assert "daily_report/files" in late
    assert "2 days" in late
    assert "mall/tenants" not in late


def test_rejected_rows_are_shown_with_reasons_and_examples(client: httpx.Client) -> None:
    raw = client.get("/ui/health").text
    assert "bad_postal_code" in raw
    assert "days is &#39;abc&#39;; expected a whole number" in raw
    assert HOSTILE not in raw


def test_of_many_partitions_with_rejected_rows_the_latest_are_read(
    tmp_path: Path, dagster: FakeDagster
) -> None:
    lake = Lake(tmp_path)
    days = [f"2026-11-{n:02d}" for n in range(1, 21)]
    rows = transit_results(lake.now.date())
    for day in days:
        lake.publish("transit/results", {day: rows}, ["test_id"], refused=refusals(f"raw of {day}"))
    text = health(lake, dagster.url)
    assert f"{PARTITIONS_READ} of 20 partitions" in text
    assert "raw of 2026-11-20" in text


def test_without_an_address_of_dagster_the_page_says_what_to_set(lake: Lake) -> None:
    text = health(lake, None)
    assert "TNT_DAGSTER_URL" in text
    assert "posts" in text[text.index('id="freshness"') :]


def test_a_dagster_that_is_not_there_breaks_no_page(lake: Lake) -> None:
    text = health(lake, "http://127.0.0.1:1")
    assert PROBLEM in text
    assert "bad_postal_code" in text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<html>another server</html>", 200),
        (b"", 200),
        (b"[" * 100_000, 200),
        (b'{"errors": [{"message": "no such field"}], "data": null}', 200),
        (b'{"data": {}}', 200),
        (b'{"data": {"runsOrError": {"results": [7]}, "assetNodes": [7]}}', 200),
        (b'{"data": {"runsOrError": {"results": [{"runId": {}}]}, "assetNodes": []}}', 200),
        (b'{"data": {"runsOrError": {"results": [{"tags": [{}]}]}, "assetNodes": []}}', 200),
        (b'{"data": {"runsOrError": {"results": [{"tags": [], "endTime": 1e300}]}, "assetNodes": []}}', 200),
        (b'{"data": {"runsOrError": {"results": []}, "assetNodes": [{"assetKey": {"path": 7}}]}}', 200),
        (b"\xff\xfe", 200),
        (b"sign in", 302),
        (b"", 500),
        (b" " * (dagster_state.MAX_RESPONSE_BYTES + 1), 200),
    ],
)
def test_whatever_answers_in_its_place_breaks_no_page(
    lake: Lake, dagster: FakeDagster, body: bytes, status: int
) -> None:
    dagster.body, dagster.status = body, status
    text = health(lake, dagster.url)
    assert PROBLEM in text
    assert "bad_postal_code" in text


def test_a_sign_in_page_in_front_of_dagster_says_what_to_set(lake: Lake, dagster: FakeDagster) -> None:
    dagster.status = 302
    assert "TNT_DAGSTER_API_URL" in health(lake, dagster.url)


def test_a_dagster_that_answers_slowly_holds_nobody_up(
    lake: Lake, dagster: FakeDagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_state, "WAIT_S", 4.0)
    # A byte now and then would keep a timeout between bytes waiting for ever.
    dagster.pause_s = 0.2
    with running({**lake.environment, "TNT_DAGSTER_URL": dagster.url}) as url, ThreadPoolExecutor(12) as pool:
        httpx.get(f"{url}/records")
        started = time.monotonic()
        pages = [pool.submit(page, url) for _ in range(12)]
        eventually(lambda: bool(dagster.queries))
        assert httpx.get(f"{url}/records").status_code == 200
        assert not any(found.done() for found in pages), "records don't wait for Dagster"
        assert all("within 4 s" in found.result() for found in pages)
        assert time.monotonic() - started < 6 * dagster_state.WAIT_S, "the twelve wait together"
        # Who comes while Dagster still keeps somebody waiting does not wait as long again.
        again = time.monotonic()
        page(url)
        assert time.monotonic() - again < dagster_state.WAIT_S


def test_assets_that_take_dagster_long_hide_no_failed_run_and_are_shown_later(
    lake: Lake, dagster: FakeDagster
) -> None:
    dagster.pause_before_assets_s = 3.0
    with running({**lake.environment, "TNT_DAGSTER_URL": dagster.url}) as url:
        first = page(url)
        assert "within 2 s" in first
        eventually(lambda: "captures_accepted" in page(url))
        assert "transit: 2 of 5 dates failed" in page(url)


def test_assets_that_dagster_cannot_tell_hide_no_failed_run(lake: Lake, dagster: FakeDagster) -> None:
    dagster.assets = {"data": None, "errors": [{"message": "no such field"}]}
    text = health(lake, dagster.url)
    assert "transit: 2 of 5 dates failed" in text
    assert PROBLEM in text


def test_a_log_that_cannot_be_read_hides_no_failed_run(lake: Lake, dagster: FakeDagster) -> None:
    dagster.stories = {"data": None}
    text = health(lake, dagster.url)
    assert f"{OTHER_RUN[:8]}" in text
    assert "captures_accepted" in text


def test_dagster_is_asked_once_for_many_readers_and_the_log_of_a_run_once(
    lake: Lake, dagster: FakeDagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running({**lake.environment, "TNT_DAGSTER_URL": dagster.url}) as url, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: page(url), range(8)))
        assert len(dagster.queries) == 3
        monkeypatch.setattr(dagster_state, "AGE_S", 0.0)
        page(url)
        assert len([query for query in dagster.queries if "eventConnection" in query]) == 1


def test_what_dagster_said_before_it_went_is_still_shown_and_marked(
    lake: Lake, dagster: FakeDagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running({**lake.environment, "TNT_DAGSTER_URL": dagster.url}) as url:
        page(url)
        dagster.status = 500
        monkeypatch.setattr(dagster_state, "AGE_S", 0.0)
        text = page(url)
    assert PROBLEM in text
    assert "transit: 2 of 5 dates failed" in text


def test_on_ones_own_machine_dagster_is_taken_to_be_where_dev_starts_it() -> None:
    def asked(host: str, **environment: str) -> str | None:
        return with_local_dagster(Settings.from_environment(environment), host).environment.get(
            "TNT_DAGSTER_URL"
        )

    assert asked("127.0.0.1") == UI
    assert asked("0.0.0.0") is None
    assert asked("127.0.0.1", TNT_DAGSTER_URL="http://127.0.0.1:3001") == "http://127.0.0.1:3001"
    assert asked("127.0.0.1", TNT_DAGSTER_URL="") == ""


DEFINITIONS = """
import dagster as dg
SPEC = dg.AssetCheckSpec("unique_keys", asset=["transit", "results"])
DAYS = dg.StaticPartitionsDefinition(["2026-11-01", "2026-11-02"])

@dg.asset(key=["transit", "results"], partitions_def=DAYS, check_specs=[SPEC])
def results(context):
    if context.partition_key == "2026-11-01":
        raise dg.Failure("transit: the source can't be reached; run again", allow_retries=False)
    said = dg.AssetCheckResult(check_name="unique_keys", passed=False, description="2 keys came twice")
    yield dg.MaterializeResult(check_results=[said])

defs = dg.Definitions(assets=[results])
if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        for day in ("2026-11-01", "2026-11-02"):
            dg.materialize([results], instance=instance, partition_key=day, raise_on_error=False)
"""


@pytest.fixture
def webserver(tmp_path: Path) -> Iterator[str]:
    """A web server of Dagster over an instance with one failed run and one failed check."""
    home, code = tmp_path / "dagster", tmp_path / "failing.py"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    code.write_text(DEFINITIONS)
    environment = {**os.environ, "DAGSTER_HOME": str(home)}
    subprocess.run([sys.executable, code], env=environment, capture_output=True, timeout=120, check=True)
    command = [sys.executable, "-m", "dagster_webserver", "-f", code, "-h", "127.0.0.1", "-p", "0"]
    process = psutil.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
    )

    def listening() -> list[int]:
        return [found.laddr.port for found in process.net_connections() if found.status == "LISTEN"]

    try:
        eventually(lambda: bool(listening()), within_s=60)
        yield f"http://127.0.0.1:{listening()[0]}"
    finally:
        children = process.children(recursive=True)
        process.terminate()
        process.wait(30)
        for child in children:
            if child.is_running():
                child.terminate()


@pytest.mark.heavy
@pytest.mark.timeout(240)
def test_a_run_that_failed_in_dagster_itself_is_shown(lake: Lake, webserver: str) -> None:
    text = health(lake, webserver)
    assert "transit: the source can't be reached; run again" in text
    assert "2 keys came twice" in text
    assert "2026-11-01" in text
    runs = httpx.post(
        f"{webserver}/graphql",
        json={"query": "{runsOrError(filter: {statuses: [FAILURE]}) {... on Runs {results {runId}}}}"},
    ).json()["data"]["runsOrError"]["results"]
    assert json.dumps(runs)
    assert [f"{webserver}/runs/{run['runId']}" in text for run in runs] == [True]
