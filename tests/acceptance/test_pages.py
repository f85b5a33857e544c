"""The pages in a real browser: live, without script, narrow, dark, with the keyboard, and never with an error."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bookkeeper.api import Catalog
from bookkeeper.server.pages import router
from bookkeeper.server.running import Parts
from goodcatalog import lived, produce
from services.servers import STILL, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.acceptance

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
PATIENCE = 120_000
"""Milliseconds that the browser has for what it is told: the machine may be busy."""

PATHS = ("/", "/projects/mass", "/processes/2", "/processes/6", "/files?name=f02", "/nodes",
         "/projects/mass/processes", "/projects/mass/parked", "/projects/mass/outputs", "/projects/mass/events")  # fmt: skip


class Served:
    """The catalog's server, and what it serves."""

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        self.catalog, self.folder = catalog, folder
        self._open = contextlib.ExitStack()
        self.url = self._open.enter_context(serving(catalog.database, Parts(pages=router, settings=STILL)))

    def stop(self) -> None:
        self._open.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=PATIENCE)
        yield opened
        opened.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    catalog, _ = lived(tmp_path)
    server = Served(catalog, tmp_path)
    yield server
    server.stop()
    catalog.close()


@contextlib.contextmanager
def looking(browser: Browser, **settings: Any) -> Iterator[Page]:
    """Open a page; afterwards nothing may have been wrong on it: no error, no refusal of the policy, no failed request."""
    context = browser.new_context(**settings)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: None if left(request) else wrong.append(request.url))
    try:
        yield page
        assert not wrong, wrong
    finally:
        context.close()


def left(request: Any) -> bool:
    """Whether a request was given up because the page was left."""
    return request.failure == "net::ERR_ABORTED"


def screenshot(page: Page, name: str) -> None:
    """Keep a picture to look at, where one is wanted."""
    if folder := os.environ.get("PICTURES"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_and_are_without_fault(browser: Browser, served: Served, width: int, scheme: Any) -> None:
    with looking(browser, viewport={"width": width, "height": 844}, color_scheme=scheme) as page:
        for path in PATHS:
            page.goto(served.url + path)
            wide, ground = page.evaluate(
                "[document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]"
            )
            assert wide <= width, f"{path} is {wide} pixels wide"
            red = int(ground.removeprefix("rgb(").split(",")[0])
            assert (red < 60) if scheme == "dark" else (red > 200)
            screenshot(page, f"{path.strip('/').replace('/', '-').replace('?', '-') or 'overview'}-{width}-{scheme}")


def test_page_follows_what_happens_and_keeps_what_a_person_did(browser: Browser, served: Served) -> None:
    """A process commits while somebody looks: numbers, table and bar change, the rest stays the very same elements."""
    with looking(browser) as page:
        page.goto(f"{served.url}/projects/mass")
        assert page.locator(".key .committed b").inner_text() == "5"
        rows = page.locator("section[aria-labelledby=processes] tbody tr")
        first, count = rows.first.inner_text(), rows.count()
        page.locator("summary").first.click()  # a person closes it
        page.locator("section[aria-labelledby=processes] tbody a").first.focus()
        page.evaluate("window.heading = document.querySelector('h1'); window.focused = document.activeElement")
        made = produce(_newest(served.catalog).start_process(node="late-node"), served.folder)
        page.locator(f"tr[data-key=p{made.id}]", has_text="committed").wait_for(timeout=PATIENCE)
        assert page.locator(".key .committed b").inner_text() == str(5 + len(made.files))
        assert rows.count() == count + 1 and first.split()[0] in rows.nth(1).inner_text()
        assert page.locator("details").first.get_attribute("open") is None
        assert page.evaluate("window.heading === document.querySelector('h1')")
        assert page.evaluate("window.focused === document.activeElement && window.focused.isConnected")
        assert page.title().startswith(f"{100 * (5 + len(made.files)) // 12} % mass")


def _newest(catalog: Catalog) -> Any:
    row = catalog.sql("SELECT project FROM project_summary WHERE request = 'mass' AND state = 'open'")[0]
    return catalog.project(row["project"])


def test_updates_can_be_stopped_and_a_lost_server_is_told(browser: Browser, served: Served) -> None:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(f"{served.url}/projects/mass")
    button = page.get_by_role("button", name="live")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert page.locator("#live button").get_attribute("aria-pressed") == "false"
    assert page.locator("#live").inner_text().strip() == "paused"
    page.locator("#live button").click()
    served.stop()
    page.locator("#live.lost", has_text="no answer").wait_for(timeout=PATIENCE)
    assert page.locator("h1").inner_text() == "mass"
    context.close()


def test_pages_work_without_script(browser: Browser, served: Served) -> None:
    with looking(browser, java_script_enabled=False) as page:
        page.goto(served.url)
        page.get_by_role("link", name="mass").click()
        page.get_by_role("link", name="all processes").click()
        page.get_by_role("link", name="rolled back").click()
        assert page.locator("tbody tr").count() == 1
        page.get_by_label("Find a project").fill("f02")
        page.get_by_role("button", name="Find").click()
        assert page.locator("h1").inner_text() == "f02"
        assert not page.locator("#live").is_visible()


def test_everything_is_reached_with_the_keyboard(browser: Browser, served: Served) -> None:
    with looking(browser) as page:
        page.goto(f"{served.url}/processes/2")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        assert page.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
        wanted = page.evaluate("document.querySelectorAll('main a, main summary, main [tabindex=\"0\"]').length")
        seen = 1
        while page.evaluate("document.querySelector('main').contains(document.activeElement)") and seen <= wanted:
            page.keyboard.press("Tab")
            seen += 1
        assert seen - 1 == wanted


def test_nothing_moves_for_those_who_ask_for_rest(browser: Browser, served: Served) -> None:
    for wish, told in (("reduce", "0s"), ("no-preference", "0.4s")):
        with looking(browser, reduced_motion=wish) as page:
            page.goto(f"{served.url}/projects/mass")
            style = "getComputedStyle(document.querySelector('.bar .committed')).transitionDuration"
            assert page.evaluate(style).split(",")[0] == told


def test_names_of_strangers_are_no_script(browser: Browser, served: Served) -> None:
    """Not even one that could break out of an attribute, and none after a live update."""
    hostile = "\"'><script>document.title='taken'</script><img src=x onerror=document.title='taken'>"
    with looking(browser) as page:
        page.goto(f"{served.url}/projects/mass")
        process = _newest(served.catalog).start_process(node=hostile)
        process.next_files(1)
        process.roll_back(hostile)
        page.locator(f"tr[data-key=p{process.id}]", has_text="rolled back").wait_for(timeout=PATIENCE)
        assert hostile in page.locator(f"tr[data-key=p{process.id}]").inner_text()
        assert "taken" not in page.title() and page.locator("main img, main script").count() == 0
