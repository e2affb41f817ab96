"""What a reader waits for: the runs page of a long history, a filter in it, and hundreds of runs compared."""

import math
import os
import random
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from benchmarks.copied_runs import EXPERIMENT, copy_run
from benchmarks.measurement import RUNYARD, Absent, Bench, Measure, Outcome, Target, figures
from benchmarks.own_workspace import own_workspace

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from runyard import Workspace

TITLE = "Pages in a browser, with 100,000 runs"
METHOD = (
    "In Debian's Chromium without a window, with 100,000 finished runs in one experiment. *First paint*: from the address to "
    "the first content of the page of runs; *of the experiment*: the same of that experiment's. *Filter*: from Enter in its "
    "filter (by a metric, by words, by status and tag) to the first content of the filtered page. *Compare 500*: from the "
    "address to the moment at which the page of 500 runs, each with two curves of 10,000 points, is whole and drawn. The "
    "floor: first paint of a page with one word from Python's `http.server`."
)
MEASURES = (
    Measure("first paint", "ms", target=Target(bound=1000)),
    Measure("of the experiment", "ms", target=Target(bound=1000)),
    Measure("filter", "ms", target=Target(bound=300)),
    Measure("compare 500", "ms", target=Target(bound=2000)),
)
_FILTERS = ("metrics.loss < 0.001", "seed train", "status = Completed and tags.team = vision")
_NO_BROWSER = "needs Chromium, which is not here (Debian's package chromium, or RUNYARD_CHROMIUM)"
# When the page's first content stands: entries of the paint are told a little after it.
_PAINTED = """() => new Promise((tell) => new PerformanceObserver((list) => {
    const first = list.getEntriesByName("first-contentful-paint")[0];
    if (first) tell(first.startTime);
}).observe({type: "paint", buffered: true}))"""
# The moment after the frame in which all that was loaded is drawn.
_WHOLE = "() => new Promise((tell) => requestAnimationFrame(() => setTimeout(() => tell(performance.now()))))"


def ours(bench: Bench) -> list[Outcome]:
    if not _browser_is_here():
        return [Absent(RUNYARD, _NO_BROWSER)]
    from tests.end_to_end import browser as browsers

    many, compared = bench.sized(100_000, 300), bench.sized(500, 5)
    with own_workspace(bench) as workspace, browsers.started_chromium() as browser:
        seed = _seed(workspace, bench.sized(10_000, 200))
        ids = copy_run(workspace, seed, compared, with_points=True)
        copy_run(workspace, seed, many - compared, first=compared)
        compare = "/compare?" + urlencode([("run", id_) for id_ in ids])
        with browsers.visiting(browser, workspace.get_run(seed).get_portal_url()) as visit:
            found = {
                "first paint": _times(bench, partial(_first_paint, visit.page, visit.address + "/runs")),
                "of the experiment": _times(
                    bench, partial(_first_paint, visit.page, f"{visit.address}/runs?experiment={EXPERIMENT}")
                ),
                "filter": [
                    time
                    for filter_ in _FILTERS
                    for time in _times(bench, partial(_filtered, visit.page, visit.address, filter_))
                ],
                "compare 500": _times(bench, partial(_drawn, visit.page, visit.address + compare)),
            }
    return figures(RUNYARD, found)


def _browser_is_here() -> bool:
    return bool(os.environ.get("RUNYARD_CHROMIUM") or shutil.which("chromium"))


def _seed(workspace: "Workspace", points: int) -> str:
    """A finished run as its many copies will be: found by words, arguments and tags, with two curves."""
    from runyard import Experiment

    run = Experiment(workspace, "seed").start_logging(display_name="seed train")
    noise = random.Random(1)
    for step in range(points):
        run.log("loss", math.exp(-5 * step / points) + noise.random() / 10, step=step)
        run.log("accuracy", 1 - math.exp(-9 * step / points) - noise.random() / 20, step=step)
    run.tag("team", "vision")
    run.complete()
    return str(run.id)


def _times(bench: Bench, look: Callable[[], float]) -> list[float]:
    """Milliseconds of some looks; the first one is not counted."""
    look()
    return [look() for _ in range(bench.sized(7, 1))]


def _first_paint(page: "Page", address: str) -> float:
    page.goto(address, wait_until="commit")
    return float(page.evaluate(_PAINTED))


def _filtered(page: "Page", address: str, text: str) -> float:
    page.goto(address + "/runs", wait_until="load")
    page.get_by_label("Filter", exact=True).fill(text)
    with page.expect_navigation(wait_until="commit"):
        page.get_by_label("Filter", exact=True).press("Enter")
    return float(page.evaluate(_PAINTED))


def _drawn(page: "Page", address: str) -> float:
    page.goto(address, wait_until="load")
    return float(page.evaluate(_WHOLE))


def floor(bench: Bench) -> Sequence[Outcome]:
    if not _browser_is_here():
        return [Absent("Chromium, one word", _NO_BROWSER)]
    from tests.end_to_end import browser as browsers

    folder = bench.folder("floor")
    (folder / "index.html").write_text("<!doctype html><title>word</title>word")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        with browsers.started_chromium() as browser:
            page = browser.new_page()
            times = _times(bench, partial(_first_paint, page, f"http://127.0.0.1:{server.server_port}/"))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    return figures("Chromium, one word", {"first paint": times})


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing of each request."""


def peers(bench: Bench) -> Sequence[Outcome]:
    reason = (
        "none of them takes in 100,000 runs, or 1,000 curves of 10,000 points, in the time that a benchmark has "
        "(`finished_runs` and `metric_intake` have their rates)"
    )
    return [Absent("MLflow, Aim, trackio", reason if bench.peers.allowed else "not measured: run without peers")]
