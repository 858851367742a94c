"""The web UI in a real browser: what a user sees of a published dataset, and screenshots of it.

TNT_SCREENSHOTS names the folder for the screenshots; without it they go to a temporary one.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from tnt_platform.sandbox.running import rate_api_process
from tnt_platform_tests.e2e.running_dagster import DagsterHome, RunningDagster, running_dagster, small_plan

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

# Recent dates, so that the list of partitions begins with them.
TODAY = dt.datetime.now(dt.UTC).date()
PLAN = replace(
    small_plan(TODAY - dt.timedelta(days=3), 3, files=14, rows=24), special_files=True, dirt_rate=0.05
)
# The generator puts one file of each special kind on its first date.
DATE = PLAN.dates[0].isoformat()
PAGE_TIMEOUT_MS = 90_000
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDagster]:
    """Dagster whose sensor has published three dates and has nothing more to do."""
    home = DagsterHome(tmp_path_factory.mktemp("browser"))
    home.drop_reference(PLAN)
    home.drop_files(PLAN)
    with rate_api_process("--latency-ms", "5") as api, running_dagster(home, api.url) as running:
        ticks = running.wait_for("a tick with runs", lambda: _with_runs(running), 300)
        runs = running.finished_runs(ticks[0]["runIds"], 400)
        assert {run.status for run in runs} == {"SUCCESS"}
        running.wait_for("a tick without work", lambda: running.ticks()[-1]["skipReason"], 300)
        yield running


def _with_runs(running: RunningDagster) -> list[dict[str, object]]:
    return [tick for tick in running.ticks() if tick["runIds"]]


@dataclass(frozen=True)
class Visitor:
    """Somebody with a browser who looks around."""

    page: Page
    url: str
    screenshots: Path

    def visit(self, path: str, *, until: str) -> None:
        """Open a page and wait for a text that says it is there."""
        self.page.goto(f"{self.url}{path}", wait_until="domcontentloaded", timeout=PAGE_TIMEOUT_MS)
        self.sees(until)

    def sees(self, *texts: str) -> None:
        """Every text is visible somewhere on the page."""
        for text in texts:
            expect(self.page.get_by_text(text).locator("visible=true").first).to_be_visible()

    def fact(self, name: str) -> Locator:
        """The cell beside a name in a table of metadata."""
        return self.page.locator(f"xpath=//td[normalize-space(.)='{name}']/following-sibling::td[1]").first

    def shows(self, fact: str) -> Locator:
        """Open the dialog of a fact that is too long for its cell."""
        self.fact(fact).get_by_text("Show Markdown").click()
        dialog = self.page.get_by_role("dialog").last
        expect(dialog).to_be_visible()
        return dialog

    def keeps(self, name: str) -> None:
        """Take a screenshot once the page has come to rest."""
        self.page.wait_for_timeout(1_000)
        self.page.screenshot(path=self.screenshots / f"{name}.png")


@pytest.fixture(scope="module")
def visitor(dagster: RunningDagster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("NO BROWSER: install Debian's chromium to look at the web UI (.ci/run does)")
    folder = Path(os.environ.get("TNT_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"screenshots: {folder}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1500, "height": 1100})
        page.set_default_timeout(PAGE_TIMEOUT_MS)
        expect.set_options(timeout=PAGE_TIMEOUT_MS)
        visitor = Visitor(page, dagster.url, folder)
        # The UI greets a newcomer with a dialog that takes every click.
        page.add_locator_handler(page.get_by_role("button", name="Skip"), lambda skip: skip.click())
        yield visitor
        browser.close()


def test_the_asset_graph_shows_the_five_steps_with_their_checks_passed(visitor: Visitor) -> None:
    visitor.visit("/locations/tnt_platform/asset-groups/transit/lineage", until="daily_summary")

    visitor.sees("shipper_files", "shipments", "enriched_shipments", "results", "daily_summary")
    visitor.sees("2 / 2 Passed", "3 / 3 Passed", "4 / 4 Passed")
    visitor.keeps("asset-graph")


def test_the_overview_of_an_asset_says_what_it_is_who_owns_it_and_what_its_columns_mean(
    visitor: Visitor,
) -> None:
    visitor.visit("/assets/transit/results?view=overview", until="Column name")

    visitor.sees("Expected against actual", "logistics-data", "domain: logistics", "transit_files")
    visitor.sees("test_id", "lag_days", "Actual minus expected, in days")
    visitor.keeps("asset-overview")


def test_the_partitions_page_shows_exactly_the_published_dates(visitor: Visitor) -> None:
    visitor.visit("/assets/transit/results?view=partitions", until="Partitions Selected")

    visitor.sees("Materialized (3)", "Failed (0)", DATE)
    visitor.keeps("partitions")


def test_a_materialization_shows_where_every_row_went_and_why_some_were_refused(
    visitor: Visitor, dagster: RunningDagster
) -> None:
    published = dagster.home.workspace().store.current("transit/shipments")
    assert published is not None
    counts = published.partition(DATE)
    assert counts is not None
    visitor.visit(f"/assets/transit/shipments?view=partitions&partition={DATE}", until="quarantined_because")

    for fact, value in (
        ("rows_in", counts["rows_in"]),
        ("rows_published", counts["published"]),
        ("rows_quarantined", counts["quarantined"]),
    ):
        expect(visitor.fact(fact)).to_have_text(str(value))
    visitor.keeps("materialization")
    cell = visitor.fact("quarantined_because")
    reasons = visitor.shows("quarantined_because") if cell.get_by_text("Show Markdown").count() else cell
    expect(reasons).to_contain_text("invalid_days")
    expect(reasons).to_contain_text("truncated_gzip")
    expect(reasons).to_contain_text(f"transit/{DATE}/")
    reasons.scroll_into_view_if_needed()
    visitor.keeps("quarantine-reasons")
    visitor.page.keyboard.press("Escape")
    preview = visitor.shows("preview")
    expect(preview.locator("th").filter(has_text="expected_transit_days")).to_be_visible()
    assert preview.locator("tbody tr").count() == 10
    visitor.keeps("row-preview")
    visitor.page.keyboard.press("Escape")


def test_the_plot_of_a_day_is_really_drawn(visitor: Visitor) -> None:
    visitor.visit(f"/assets/transit/daily_summary?view=partitions&partition={DATE}", until="pass_rate")

    image = visitor.shows("plot").locator("img")
    expect(image).to_be_visible()
    assert image.evaluate("picture => picture.naturalWidth") > 600
    assert re.fullmatch(
        rf"transit {DATE}: \d+ of \d+ cases passed \(\d+\.\d%\)", image.get_attribute("alt") or ""
    )
    visitor.keeps("plot")
    visitor.page.keyboard.press("Escape")


def test_the_checks_say_what_they_check_and_what_they_found(visitor: Visitor) -> None:
    visitor.visit(
        "/assets/transit/enriched_shipments?view=checks&checkDetail=answer_coverage", until="blocking"
    )

    visitor.sees("answer_coverage", "rows_conserved", "unique_keys", "actual_transit_days_in_range", "Passed")
    visitor.sees("min_coverage", "answered 100.0% of the cases", "95.0%")
    visitor.keeps("asset-checks")


def test_a_check_that_is_executed_by_itself_says_what_to_do_instead(
    visitor: Visitor, dagster: RunningDagster
) -> None:
    before = {run.run_id for run in dagster.runs()}
    visitor.visit("/assets/transit/results?view=checks", until="Execute all")

    visitor.page.get_by_role("button", name="Execute all").click()
    fresh = dagster.wait_for(
        "a run of checks", lambda: [r for r in dagster.runs() if r.run_id not in before], 300
    )
    (run,) = dagster.finished_runs([fresh[0].run_id], 300)

    assert run.status == "FAILURE"
    assert "materialize the asset for a date instead" in dagster.failure(run.run_id)


def test_the_sensor_is_running_and_its_last_tick_says_there_is_nothing_to_do(visitor: Visitor) -> None:
    visitor.visit("/locations/tnt_platform/sensors/transit_files", until="Latest tick")

    visitor.sees("Compares the files below transit/", "~30 sec", "0 runs requested")
    expect(
        visitor.page.get_by_role("switch").or_(visitor.page.locator("input[type=checkbox]")).first
    ).to_be_checked()
    visitor.keeps("sensor-ticks")
    visitor.page.locator("tbody, [role=table]").get_by_text("0 runs requested").last.click()
    visitor.sees("nothing to do: ")
    visitor.keeps("sensor-tick")
    visitor.page.keyboard.press("Escape")


def test_the_runs_page_lists_a_run_a_date_with_the_reason_for_it(visitor: Visitor) -> None:
    visitor.visit("/runs", until="Launched by")

    for date in PLAN.dates:
        visitor.sees(f"partition: {date}")
    visitor.sees("transit_files", "Success", "tnt/reason: 14 new", "5 assets")
    visitor.keeps("runs")
