"""Debian's Chromium over the pages: what it complains of, how accessible a page is, and pictures of them."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, TimeoutError, sync_playwright

# A name: width and height in pixels, and the colours that the reader prefers.
SCREENS = {"light": (1200, 800, "light"), "dark": (1200, 800, "dark"), "phone": (390, 844, "light")}
WORST = ("serious", "critical")
PATIENCE_MS = 180_000  # a machine that builds and tests beside this is slow


def chromium_path() -> str:
    """Debian's Chromium, or the one that RUNYARD_CHROMIUM names."""
    found = os.environ.get("RUNYARD_CHROMIUM") or shutil.which("chromium")
    if not found:
        pytest.skip("no Chromium here. Install Debian's package chromium, or name a browser in RUNYARD_CHROMIUM.")
    return found


def axe_script() -> str:
    """axe-core, which checks how accessible a page is."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = Path(os.environ.get("RUNYARD_AXE") or cache / "runyard" / "axe-core" / "axe.min.js")
    if not path.is_file():
        pytest.skip(f"no axe-core at {path}. `.ci/run` fetches it with npm; or name its axe.min.js in RUNYARD_AXE.")
    return path.read_text("utf-8")


@contextmanager
def started_chromium() -> Iterator[Browser]:
    """A browser without a window; nothing is downloaded for it."""
    path = chromium_path()
    sandboxed = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        arguments = [*sandboxed, "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments, timeout=PATIENCE_MS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """One reader's browser window, and everything that the browser complained of in it."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        """Opens one of the server's pages."""
        self.page.goto(self.address + path, wait_until="load")

    def sees(self, *texts: str) -> None:
        """Waits until each text is on the page, for those who see.

        Raises:
            AssertionError: one does not come; says which, and where.
        """
        for text in texts:
            try:
                self.page.get_by_text(text).locator("visible=true").first.wait_for(timeout=PATIENCE_MS)
            except TimeoutError:
                raise AssertionError(f"{text!r} does not come on {self.page.url}") from None

    def wide_by(self) -> int:
        """Pixels by which the page is wider than its window."""
        return int(self.page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth"))

    def hard_to_use(self, axe: str, rule: str = "") -> Sequence[str]:
        """What axe finds serious, by one rule or all: the rule, and the first elements that break it."""
        self.page.evaluate(axe)
        asked = {"resultTypes": ["violations"], **({"runOnly": [rule]} if rule else {})}
        found = self.page.evaluate("(asked) => axe.run(document, asked).then((told) => told.violations)", asked)
        return [
            f"{one['id']}: {one['help']}: " + " ".join(node["html"][:200] for node in one["nodes"][:3])
            for one in found
            if one["impact"] in WORST
        ]


@contextmanager
def visiting(browser: Browser, portal_url: str, screen: str = "light") -> Iterator[Visit]:
    """A window that has opened a page's printed address, as a reader does first."""
    width, height, colours = SCREENS[screen]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=colours,  # type: ignore[arg-type]
        locale="en-GB",
        timezone_id="UTC",
        has_touch=screen == "phone",
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    parts = urlsplit(portal_url)
    visit = Visit(page, f"{parts.scheme}://{parts.netloc}")

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            visit.complaints.append(f"{page.url}: {message.text}")

    page.on("console", hear)
    page.on("pageerror", lambda fault: visit.complaints.append(f"{page.url}: {fault}"))
    page.goto(portal_url, wait_until="load")
    yield visit
    context.close()
