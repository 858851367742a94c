"""The dashboard in a real browser, on a phone and on a desktop: what is seen, what is asked of others, who can use it.

TNT_SCREENSHOTS names the folder for the screenshots; without it they go to a temporary one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tnt_platform_tests.web.running import running
from tnt_platform_tests.web.scene import Lake, by_bucket, posts

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PAGES = {
    "home": "/",
    "records": "/ui/records",
    "no_records": "/ui/records?q=nothing-has-this",
    "record": "/ui/records/users:1",
    "datasets": "/ui/datasets",
    "dataset": "/ui/datasets/transit/results",
    "diff": "/ui/datasets/mall/tenants/diff",
    "transit": "/ui/transit",
    "series": "/ui/series",
    "plot": "/ui/series/plot?{plot}",
    "directory": "/ui/directory",
    "reports": "/ui/reports",
    "report_day": "/ui/reports/day?dataset=daily_report/files&day=2026-11-09",
    "health": "/ui/health",
    "docs": "/docs",
    "login": "/login",
    "error": "/ui/nothing",
}
PAGE_TIMEOUT_MS = 90_000
WIDTHS = {"phone": 360, "desktop": 1280}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        expect.set_options(timeout=PAGE_TIMEOUT_MS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("TNT_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def path_of(name: str, address: str) -> str:
    oldest = httpx.get(f"{address}/datasets/prices/versions").json()["items"][-1]["version"]
    plot = urlencode({"dataset": "prices", "code": "PRICE_INDEX_M", "compare": oldest})
    return PAGES[name].replace("{plot}", plot)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_asks_nobody_else_and_can_be_used_by_all(
    browser: Browser, address: str, screenshots: Path, name: str, width: str, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": WIDTHS[width], "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    context.set_default_timeout(PAGE_TIMEOUT_MS)
    page = context.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
    page.goto(address + path_of(name, address))
    page.screenshot(path=str(screenshots / f"{name}-{width}-{scheme}.png"), full_page=True)
    assert [url for url in asked if not url.startswith(address + "/")] == []
    # Chromium itself says so when a page is a 404.
    assert [text for text in said if "404 (Not Found)" not in text] == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (
        "it is wider than the screen"
    )
    violations = Axe().run(page).response["violations"]
    serious = [
        (found["id"], [node["html"][:200] for node in found["nodes"]])
        for found in violations
        if found["impact"] in ("serious", "critical")
    ]
    assert serious == []
    context.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    context.set_default_timeout(PAGE_TIMEOUT_MS)
    yield context.new_page()
    context.close()


def test_the_first_tab_skips_to_the_content(page: Page, address: str) -> None:
    page.goto(f"{address}/ui/records")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_a_record_is_found_by_text_and_shows_its_capture(page: Page, address: str) -> None:
    page.goto(f"{address}/ui/records")
    page.get_by_label("Text").fill("another title")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("1 record.")).to_be_visible()
    page.get_by_role("link", name="posts:7").click()
    expect(page.get_by_role("heading", name="posts:7")).to_be_visible()
    expect(page.get_by_text("raw/source=posts/date=2026-11-01/x.json")).to_be_visible()


def test_pages_of_records_lead_to_the_end_without_script(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(PAGE_TIMEOUT_MS)
    page = context.new_page()
    page.goto(f"{address}/ui/records")
    seen = page.locator("tbody tr").count()
    while page.get_by_role("link", name="Next page").count():
        with page.expect_navigation():
            page.get_by_role("link", name="Next page").click()
        seen += page.locator("tbody tr").count()
    assert seen == 133
    context.close()


def test_the_theme_is_remembered(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Dark").click()
    page.goto(f"{address}/ui/datasets")
    expect(page.get_by_role("button", name="Light")).to_be_visible()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_new_version_is_shown_without_a_reload(page: Page, tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.publish("posts", by_bucket(posts(20)), ["id"])
    with running(lake.environment) as url:
        page.goto(url)
        expect(page.get_by_role("cell", name="20", exact=True).first).to_be_visible()
        lake.publish("posts", by_bucket(posts(33)), ["id"])
        expect(page.get_by_text("A new version was published")).to_be_visible()
        expect(page.get_by_role("cell", name="33", exact=True).first).to_be_visible()
        # The server must not wait for the browser's connections.
        page.goto("about:blank")
