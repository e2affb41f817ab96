"""Every page in Debian's Chromium, over real runs: one trains meanwhile, one waits, one has failed, one is done.

With RUNYARD_PICTURES set to a folder, the pictures of the documentation are written there (`make pictures`); with
RUNYARD_PICTURES_OF=all those of every page on every screen, to look at.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page

from runyard import AmlCompute, ComputeTarget, Environment, Experiment, Run, ScriptRunConfig, Workspace
from tests.end_to_end import browser as browsers
from tests.end_to_end.browser import SCREENS, Visit

pytestmark = pytest.mark.chromium

TRAINS = """
import math, os, threading
from runyard import Run

run = Run.get_context()
print("\\x1b[1mreading\\x1b[0m 60,000 pictures <b>&amp;</b> \\x1b]0;a title\\x07done")
tick, step = threading.Event(), 0
stop = open("stop.txt").read()  # no argument: pictures of the documentation show no folder of a machine
while not os.path.exists(stop):
    run.log("loss", 2.3 * math.exp(-step / 20) + 0.05 * math.sin(step), step=step)
    run.log("accuracy", 1 - 0.9 * math.exp(-step / 15), step=step)
    print("\\x1b[32mepoch %d\\x1b[0m is over" % step)
    for part in (25, 50, 75, 100):
        print("\\r%3d%% of the pictures" % part, end="", flush=True)
    print(flush=True)
    step += 1
    tick.wait(0.5)
"""

WRITES = """
import base64, json, struct, zlib
from runyard import Run

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

rows = b"".join(b"\\0" + bytes(v for x in range(160) for v in (x, y * 2, 200 - x)) for y in range(90))
picture = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 160, 90, 8, 2, 0, 0, 0))
picture += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
open("outputs/picture.png", "wb").write(picture)
open("outputs/table.csv", "w").write("epoch,loss\\n" + "".join("%d,%.3f\\n" % (n, 1 / (n + 1)) for n in range(20)))
json.dump({"layers": [784, 128, 10], "classes": {"zero": 0}}, open("outputs/network.json", "w"))
open("outputs/notes.txt", "w").write("<script>alert('notes')</script>\\nplain words\\n")
cells = [
    {"cell_type": "markdown", "metadata": {}, "source": ["# What was tried\\n", "Three rates."]},
    {"cell_type": "code", "metadata": {}, "execution_count": 1, "source": ["plot(losses)"], "outputs": [
        {"output_type": "stream", "name": "stdout", "text": ["drawn\\n"]},
        {"output_type": "display_data", "metadata": {}, "data": {
            "image/png": base64.b64encode(picture).decode(), "text/plain": ["<Figure>"]}},
        {"output_type": "execute_result", "metadata": {}, "execution_count": 1, "data": {
            "text/html": ["<script>alert('cell')</script>"], "text/plain": ["a table of 3 rows"]}}]},
]
json.dump({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, open("outputs/report.ipynb", "w"))
run = Run.get_context()
for n in range(30):
    run.log("loss", 1 / (n + 1))
    run.log_row("by epoch", epoch=n, train=1 / (n + 1), test=1.2 / (n + 1))
    print("epoch", n)
run.log_image("samples", path="outputs/picture.png")
digits = list(map(str, range(10)))
right = [[90 + true if true == taken else (true * taken) % 7 for taken in range(10)] for true in range(10)]
run.log_confusion_matrix("digits mistaken", {"schema_type": "confusion_matrix", "schema_version": "1.0.0",
    "data": {"class_labels": digits, "matrix": right}})
run.log_table("<i>slowest</i>", {"picture": ["one.png", "two.png"], "seconds": [3.5, 0.25]})
"""


@dataclass(frozen=True)
class Yard:
    """What the pages show. ``stop`` is the file that ends the training run."""

    workspace: Workspace
    trains: Run
    waits: Run
    done: Run
    done_again: Run
    failed: Run
    stop: Path

    @property
    def portal_url(self) -> str:
        return self.trains.get_portal_url()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browsers.started_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def axe() -> str:
    return browsers.axe_script()


@pytest.fixture(scope="module")
def yard(
    workspace: Workspace, this_python: Environment, tmp_path_factory: pytest.TempPathFactory, chromium: Browser
) -> Iterator[Yard]:
    folder = tmp_path_factory.mktemp("pages")
    stop = folder / "stop"

    def submit(name: str, text: str, *arguments: object, target: str = "local", experiment: str = "digits") -> Run:
        source = folder / name
        source.mkdir(exist_ok=True)
        (source / "train.py").write_text(text)
        (source / "README.md").write_text("How the digits are learnt.\n")
        (source / "stop.txt").write_text(str(stop))
        config = ScriptRunConfig(
            str(source),
            "train.py",
            arguments=list(arguments),
            compute_target=target,
            environment=this_python,
        )
        return Experiment(workspace, experiment).submit(config, tags={"optimizer": "adam"})

    ComputeTarget.create(workspace, "one-node", AmlCompute.provisioning_configuration(max_nodes=1))
    (folder / "data").mkdir()
    (folder / "data" / "labels.csv").write_text("name,label\nfirst.png,3\nsecond.png,5\n")
    workspace.get_default_datastore().upload(str(folder / "data"), target_path="digits/raw", show_progress=False)
    done = submit("done", WRITES, "--rate", 0.1)
    done.wait_for_completion()
    done.register_model("digits", "outputs/network.json", tags={"stage": "trial"})
    done_again = submit("again", WRITES.replace("range(30)", "range(40)"), "--rate", 0.2)
    done_again.wait_for_completion()
    done_again.register_model("digits", "outputs/network.json", description="The better one.")
    failed = submit("failed", "raise ValueError('the <rate> is too high')\n", experiment="rates")
    failed.wait_for_completion(raise_on_error=False)
    trains = submit("trains", TRAINS, "--rate", 0.05, target="one-node")
    waits = submit("done", WRITES, target="one-node")
    workspace.retention.add("old-tries", "delete", "experiment in (digits, rates)", older_than_days=0)
    yield Yard(workspace, trains, waits, done, done_again, failed, stop)
    stop.touch()
    for run in (trains, waits):
        run.cancel()
        run.wait_for_completion(raise_on_error=False)


@dataclass(frozen=True)
class View:
    """A page: its picture's name, its address, and what stands on it."""

    name: str
    address: Callable[[Yard], str]
    texts: tuple[str, ...]


def _file(name: str) -> Callable[[Yard], str]:
    return lambda yard: f"/runs/{yard.done.id}/files/outputs/{name}"


VIEWS = [
    View("runs", lambda yard: "/runs", ("digits", "Running", "Queued", "Failed", "Columns")),
    View("runs-filtered", lambda yard: "/runs?filter=status%20=%20Failed", ("rates", "Keep this view")),
    View("run", lambda yard: f"/runs/{yard.trains.id}", ("Running", "loss", "epoch", "Details", "Cancel or rerun…")),
    View(
        "run-done",
        lambda yard: f"/runs/{yard.done.id}",
        ("Completed", "outputs/picture.png", "optimizer", "Made", "Pictures and tables", "<i>slowest</i>"),
    ),
    View("run-failed", lambda yard: f"/runs/{yard.failed.id}", ("Script failed", "the <rate> is too high")),
    View("run-waits", lambda yard: f"/runs/{yard.waits.id}", ("Queued", "one-node")),
    View("log", lambda yard: f"/runs/{yard.trains.id}/log", ("is over", "100% of the pictures", "following")),
    View("picture", _file("picture.png"), ("picture.png", "Download")),
    View("table", _file("table.csv"), ("epoch", "0.333")),
    View("json", _file("network.json"), ("layers",)),
    View("text", _file("notes.txt"), ("<script>alert('notes')</script>", "plain words")),
    View("notebook", _file("report.ipynb"), ("What was tried", "plot(losses)", "drawn", "a table of 3 rows")),
    View("code", lambda yard: f"/runs/{yard.done.id}/code", ("train.py", "README.md", "def chunk")),
    View(
        "code-beside",
        lambda yard: f"/runs/{yard.done_again.id}/code?other={yard.done.id}",
        ("changed", "for n in range(40):", "for n in range(30):"),
    ),
    View("environment", lambda yard: f"/runs/{yard.done.id}/environment", ("Its owner keeps it",)),
    View(
        "compare",
        lambda yard: f"/compare?run={yard.done.id}&run={yard.done_again.id}",
        ("What differs", "rate", "What became of what"),
    ),
    View("experiments", lambda yard: "/experiments", ("digits", "rates", "2 going on")),
    View("models", lambda yard: "/models", ("digits", "The better one.")),
    View("model-versions", lambda yard: "/models/digits", ("The better one.", "trial")),
    View("model", lambda yard: "/models/digits/1", ("network.json", "There is a newer one", "train.py")),
    View("model-file", lambda yard: "/models/digits/1/files/network.json", ("layers",)),
    View("compute", lambda yard: "/compute", ("one-node", "1 of 1", "in use by digits #3")),
    View("datastores", lambda yard: "/datastores", ("workspaceblobstore", "default")),
    View("datastore", lambda yard: "/datastores/workspaceblobstore?folder=digits/raw", ("labels.csv",)),
    View(
        "datastore-file",
        lambda yard: "/datastores/workspaceblobstore/files/digits/raw/labels.csv",
        ("first.png", "label"),
    ),
    View("settings", lambda yard: "/settings", ("This browser", "Let this browser act", "old-tries", "deletes")),
    View(
        "retention",
        lambda yard: "/settings/retention/old-tries",
        ("the model digits:1 was registered from it", "it has not ended"),
    ),
    View("notice", lambda yard: "/no-such-page", ("Nothing here by that name",)),
]


@pytest.mark.parametrize("screen", SCREENS)
def test_every_page_can_be_read_and_used_on_every_screen(chromium: Browser, yard: Yard, axe: str, screen: str) -> None:
    wrong = []
    with browsers.visiting(chromium, yard.portal_url, screen) as visit:
        for view in VIEWS:
            visit.go(view.address(yard))
            visit.sees(*view.texts)
            if (wide_by := visit.wide_by()) > 0:
                wrong.append(f"{view.name} is {wide_by} px wider than the {screen}")
            rule = "color-contrast" if screen == "dark" else ""  # all else is as in the light
            wrong += [f"{view.name} in {screen}: {said}" for said in visit.hard_to_use(axe, rule)]
            _take_picture(visit, view.name, screen)
        expected = [said for said in visit.complaints if "/no-such-page" in said]
        wrong += [said for said in visit.complaints if said not in expected]
    assert not wrong, "\n".join(wrong)


def test_what_a_script_prints_is_on_the_page_as_it_comes(chromium: Browser, yard: Yard) -> None:
    with browsers.visiting(chromium, yard.portal_url) as visit:
        visit.sees("following")
        lines = visit.page.locator(".logview .chunk > div")
        lines.filter(has_text="is over").first.wait_for(state="attached")  # it may be below the fold
        before = lines.filter(has_text="is over").last.text_content() or ""
        lines.filter(has_text=f"epoch {int(before.split()[1]) + 5} is over").wait_for(state="attached")
        assert visit.complaints == []


def test_colours_and_progress_bars_are_drawn_and_other_sequences_do_nothing(chromium: Browser, yard: Yard) -> None:
    with browsers.visiting(chromium, yard.portal_url) as visit:
        visit.go(f"/runs/{yard.trains.id}/log?at=0")
        first = visit.page.locator(".logview .chunk > div").first
        first.wait_for()
        assert first.inner_text() == "reading 60,000 pictures <b>&amp;</b> done"
        assert first.locator(".a-bold").inner_text() == "reading"
        assert visit.page.locator(".logview .a2", has_text="epoch 0").inner_text() == "epoch 0"
        bar = visit.page.locator(".logview .chunk > div", has_text="of the pictures").first
        assert bar.inner_text() == "100% of the pictures"
        assert "title" not in visit.page.title()
        assert visit.page.locator(".logview b").count() == 0


def test_what_was_logged_is_drawn(chromium: Browser, yard: Yard) -> None:
    with browsers.visiting(chromium, yard.done.get_portal_url()) as visit:
        page = visit.page
        picture = page.get_by_role("img", name="samples, no. 1")
        picture.scroll_into_view_if_needed()  # it is loaded when it is looked at
        page.wait_for_function("(picture) => picture.naturalWidth === 160", arg=picture.element_handle())
        matrix = page.get_by_role("region", name="digits mistaken as a matrix")
        shades = matrix.locator("td.right").first.evaluate("(cell) => getComputedStyle(cell).backgroundColor")
        assert shades != matrix.locator("td.h0").first.evaluate("(cell) => getComputedStyle(cell).backgroundColor")
        chart = page.get_by_role("region", name="by epoch", exact=True).locator("figure.chart")
        chart.locator("svg").first.hover()
        chart.locator(".hover", has_text="train").wait_for()
        assert visit.complaints == []


def test_several_runs_curves_are_told_under_the_pointer(chromium: Browser, yard: Yard) -> None:
    with browsers.visiting(chromium, yard.portal_url) as visit:
        page = visit.page
        visit.go(f"/compare?run={yard.done.id}&run={yard.done_again.id}")
        chart = page.locator('figure.chart[data-name="loss"]')
        names = [f"digits #{run.number}" for run in (yard.done, yard.done_again)]
        hover_at(page, chart, 0.5)
        told = chart.locator(".hover .key")
        assert {(told.nth(place).text_content() or "").rpartition(" ")[0] for place in range(2)} == set(names)
        assert told.count() == chart.locator(".dot").count() == 2
        where = chart.locator("output").inner_text()
        value = f"{1 / int(where):.3g}"  # they were logged without a step, and stand in their order
        assert all(value in (told.nth(place).text_content() or "") for place in range(2))
        page.mouse.move(0, 0)
        chart.locator(".hover").wait_for(state="hidden")
        assert visit.complaints == []


def test_a_chart_is_read_and_looked_at_closely_by_keyboard(chromium: Browser, yard: Yard) -> None:
    with browsers.visiting(chromium, yard.done.get_portal_url()) as visit:
        page = visit.page
        chart = page.locator('figure.chart[data-name="loss"]')
        told = chart.locator("output")
        chart.locator("svg").first.focus()
        page.keyboard.press("ArrowRight")
        assert told.inner_text() == "1: 1"
        page.keyboard.press("ArrowRight")
        assert told.inner_text() == "2: 0.5"
        page.keyboard.press("PageDown")
        assert told.inner_text().startswith("12: 0.083")
        page.keyboard.press("ArrowLeft")
        assert told.inner_text().startswith("11: 0.09")
        whole = limits(chart)
        page.keyboard.press("+")
        page.wait_for_url("**zoom=*")
        closer = redrawn(chart, whole)
        assert whole[0] <= closer[0] < 11 < closer[1] < whole[1]
        page.keyboard.press("-")  # the fresh chart has the focus
        assert redrawn(chart, closer)[1] > closer[1]
        page.keyboard.press("Escape")
        chart.get_by_role("button", name="Show all").wait_for(state="hidden")
        page.wait_for_function("() => !location.search.includes('zoom')")
        assert limits(chart) == whole
        assert visit.complaints == []


def test_charts_are_smoothed_scaled_and_looked_at_closely_by_mouse(chromium: Browser, yard: Yard) -> None:
    with browsers.visiting(chromium, yard.done.get_portal_url()) as visit:
        page = visit.page
        chart = page.locator('figure.chart[data-name="loss"]')
        assert chart.locator(".smoothed").count() == 0
        page.get_by_label("Smoothing").fill("0.6")
        chart.locator(".smoothed").wait_for(state="attached")
        assert page.locator("[data-chart-controls] output").inner_text() == "0.60"
        linear = chart.locator("text.y").all_text_contents()
        page.get_by_label("log y").check()
        page.wait_for_function(
            "(linear) => [...document.querySelectorAll('figure[data-name=loss] text.y')].map((tick) => tick.textContent)"
            ".join() !== linear",
            arg=",".join(linear),
        )
        page.get_by_label("Over").select_option("elapsed")
        page.locator('figure.chart[data-name="loss"][data-axis="elapsed"]').wait_for()
        shared = page.url
        assert all(said in shared for said in ("smooth=0.6", "scale=y", "x=elapsed"))
        whole = limits(chart)
        drag(page, chart, 0.4, 0.6)
        closer = redrawn(chart, whole)
        assert whole[0] < closer[0] < closer[1] < whole[1]
        chart.get_by_role("button", name="Show all").click()
        redrawn(chart, closer)
        assert limits(chart) == whole
        page.goto(shared)  # the view is its address
        assert chart.locator(".smoothed").count() == 1 and chart.get_attribute("data-axis") == "elapsed"
        assert page.get_by_label("log y").is_checked()
        assert visit.complaints == []


def limits(chart: Locator) -> tuple[float, float]:
    """From where to where a chart is drawn."""
    return float(chart.get_attribute("data-low") or "nan"), float(chart.get_attribute("data-high") or "nan")


def redrawn(chart: Locator, before: tuple[float, float]) -> tuple[float, float]:
    """Waits until a chart is drawn from and to elsewhere."""
    said = f'[data-low="{chart.get_attribute("data-low")}"][data-high="{chart.get_attribute("data-high")}"]'
    if limits(chart) == before:
        chart.page.locator(f'figure.chart[data-name="loss"]{said}').wait_for(state="detached")
    return limits(chart)


def place_on(chart: Locator, share: float) -> tuple[float, float]:
    """A point of the page that is that far along a chart's curves, which are in view."""
    chart.scroll_into_view_if_needed()
    box = chart.locator("svg.plot").bounding_box()
    assert box is not None
    return box["x"] + share * box["width"], box["y"] + box["height"] / 2


def hover_at(page: Page, chart: Locator, share: float) -> None:
    """Points at a chart."""
    page.mouse.move(*place_on(chart, share))
    chart.locator(".cross:not([hidden])").wait_for(state="attached")


def drag(page: Page, chart: Locator, start: float, end: float) -> None:
    """Draws a range on a chart."""
    page.mouse.move(*place_on(chart, start))
    page.mouse.down()
    page.mouse.move(*place_on(chart, end), steps=4)
    page.mouse.up()


def test_pictures_that_are_drawn_stay_when_another_one_comes(chromium: Browser, yard: Yard, tmp_path: Path) -> None:
    shown = Path(__file__).parents[2] / "docs" / "images" / "runs-phone.png"
    run = Experiment(yard.workspace, "pictures").start_logging(outputs=None, snapshot_directory=None)
    for _ in range(2):
        run.log_image("samples", path=str(shown))
    run.flush(60)
    with browsers.visiting(chromium, yard.portal_url) as visit:
        page = visit.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/pictures/" in request.url else None)
        visit.go(f"/runs/{run.id}")
        drawn = "(n) => [...document.querySelectorAll('.gallery img')].filter((image) => image.naturalWidth > 0).length === n"
        page.get_by_role("img", name="samples, no. 1").scroll_into_view_if_needed()
        page.wait_for_function(drawn, arg=2, timeout=browsers.PATIENCE_MS)
        page.evaluate("document.querySelectorAll('.gallery img').forEach((image) => (image.wasHere = true))")
        run.log_image("samples", path=str(shown))
        run.log_table("beside them", {"n": [1, 2]})
        page.get_by_role("img", name="samples, no. 3").scroll_into_view_if_needed(timeout=browsers.PATIENCE_MS)
        page.wait_for_function(drawn, arg=3, timeout=browsers.PATIENCE_MS)
        visit.sees("beside them")
        stayed = "[...document.querySelectorAll('.gallery img')].map((image) => image.wasHere === true)"
        assert page.evaluate(stayed) == [True, True, False]
        assert len(asked) == len(set(asked)) == 3
        assert visit.complaints == []
    run.complete()


WRITES_100_MB = """
import os
os.makedirs("logs", exist_ok=True)
with open("logs/long.txt", "w") as log:
    for first in range(0, 1_600_000, 10_000):
        log.write("".join("line %08d of the log, %s\\n" % (n, "x" * 36) for n in range(first, first + 10_000)))
print(os.path.getsize("logs/long.txt"))
"""


def test_a_log_of_100_mb_is_searched_and_jumped_about_in(
    chromium: Browser, yard: Yard, submit: Callable[..., Run]
) -> None:
    run = submit(WRITES_100_MB)
    run.wait_for_completion()
    assert int(run._read_log("azureml-logs/70_driver_log.txt")) >= 100_000_000

    with browsers.visiting(chromium, yard.portal_url) as visit:
        page = visit.page
        lines = page.locator(".logview .chunk > div")
        visit.go(f"/runs/{run.id}/log?name=logs/long.txt")
        page.locator(".logview .chunk > div", has_text="line 01599999").wait_for()
        page.get_by_role("searchbox").fill("LINE 00800000 of")
        page.get_by_role("searchbox").press("Enter")
        page.locator(".logview .hit", has_text="line 00800000").wait_for()
        assert page.locator(".found").inner_text() == "1 of 1"
        shared = page.url
        page.get_by_role("searchbox").fill("line 0000000")
        for key, told in (
            ("Enter", "1 of 10"),
            ("Enter", "2 of 10"),
            ("Shift+Enter", "1 of 10"),
            ("Shift+Enter", "10 of 10"),
        ):
            page.get_by_role("searchbox").press(key)
            page.locator(".found", has_text=re.compile(f"^{told}$")).wait_for()
        page.get_by_role("button", name="Begin").click()
        page.locator(".logview .chunk > div", has_text="line 00000000").wait_for()
        page.locator(".logview pre").focus()
        for _ in range(3):  # reads on to the end of what is there, and more comes
            last = int((lines.last.text_content() or "").split()[1])
            page.locator(".logview pre").evaluate("(pre) => pre.scrollTo(0, pre.scrollHeight)")
            lines.filter(has_text=f"line {last + 1:08d}").wait_for(state="attached")
        page.get_by_role("searchbox").fill("no such text")
        page.get_by_role("searchbox").press("Enter")
        visit.sees("not found")
        page.locator(".logview pre").press("End")
        page.locator(".logview .chunk > div", has_text="line 01599999").wait_for()
        assert lines.count() <= 20_000
        page.goto(shared)
        page.locator(".logview .chunk > div", has_text="line 00800000").wait_for()
        assert visit.complaints == []


def test_a_view_is_kept_under_a_name_and_forgotten(chromium: Browser, yard: Yard) -> None:
    with browsers.visiting(chromium, yard.portal_url) as visit:
        page = visit.page
        visit.go("/runs?filter=status%20=%20Failed")
        page.get_by_text("Keep this view").click()
        page.get_by_label("A name for this view").fill("<b>went wrong</b>")
        page.get_by_role("button", name="Keep", exact=True).click()
        visit.go("/runs")
        page.get_by_role("link", name="<b>went wrong</b>").click()
        page.wait_for_url("**/runs?filter=*")
        visit.sees("rates")
        page.get_by_role("button", name="Forget the view <b>went wrong</b>").click()
        assert page.get_by_role("link", name="<b>went wrong</b>").count() == 0
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.name") == "filter"
        assert visit.complaints == []


def test_a_table_of_runs_shows_new_ones_and_their_ends_by_itself(chromium: Browser, yard: Yard) -> None:
    with browsers.visiting(chromium, yard.portal_url) as visit:
        page = visit.page
        visit.go("/runs?experiment=later")
        visit.sees("No run is like that")
        assert not page.get_by_role("button", name="Compare the marked runs").is_visible()
        page.evaluate("window.isTheSamePage = true")
        run = Experiment(yard.workspace, "later").start_logging(
            outputs=None, snapshot_directory=None, display_name="first"
        )
        page.get_by_role("row", name="Running").get_by_role("link", name="first").wait_for()
        page.get_by_label("Mark first").check()
        visit.sees("1 marked")
        run.complete()
        page.get_by_role("row", name="Completed").get_by_role("link", name="first").wait_for()
        assert page.get_by_label("Mark first").is_checked()
        # All of them have ended: a table at rest hears of the next one, too.
        second = Experiment(yard.workspace, "later").start_logging(
            outputs=None, snapshot_directory=None, display_name="second"
        )
        page.get_by_role("row", name="Running").get_by_role("link", name="second").wait_for()
        second.complete()
        assert page.evaluate("window.isTheSamePage")
        assert visit.complaints == []


def stands_up(visit: Visit, axe: str) -> None:
    """What is open now is easy to use, in the dark too, and on a phone."""
    page, said = visit.page, visit.hard_to_use(axe)
    page.emulate_media(color_scheme="dark")
    said = [*said, *visit.hard_to_use(axe, "color-contrast")]
    page.emulate_media(color_scheme="light")
    wide = dict(page.viewport_size or {})
    page.set_viewport_size({"width": 390, "height": 844})
    assert (said, visit.wide_by()) == ([], 0), page.url
    page.set_viewport_size(wide)  # type: ignore[arg-type]


def test_runs_are_marked_by_keyboard_and_mouse_and_archived_and_restored_together(
    chromium: Browser, yard: Yard, workspace: Workspace, axe: str
) -> None:
    with browsers.visiting(chromium, yard.portal_url) as visit:
        page = visit.page
        visit.go("/settings")
        let_act(page, workspace)
        visit.go("/runs?status=Completed&sort=submitted")
        boxes = page.locator('input[form="marked"]')
        boxes.first.focus()
        page.keyboard.press("Space")
        visit.sees("1 marked")
        boxes.nth(1).click(modifiers=["Shift"])
        visit.sees("2 marked")
        stands_up(visit, axe)
        marked = [boxes.nth(place).input_value() for place in range(2)]
        page.get_by_role("button", name="Archive", exact=True).focus()
        page.keyboard.press("Enter")
        page.locator(f'input[value="{marked[0]}"]').wait_for(state="detached")
        visit.go("/runs?view=archived&sort=submitted")
        assert [box.input_value() for box in boxes.all()] == marked
        page.get_by_label("mark all").check()
        visit.sees("2 marked")
        page.get_by_role("button", name="Delete…").click()
        visit.sees("for good")
        stands_up(visit, axe)
        page.go_back()
        page.get_by_label("mark all").check()
        page.get_by_role("button", name="Tag…").click()
        page.get_by_label("Tag", exact=True).wait_for()
        stands_up(visit, axe)
        page.get_by_label("Tag", exact=True).fill("keep")
        page.get_by_role("button", name="Set this tag").click()
        page.wait_for_url("**/runs?*view=archived*")
        page.get_by_label("mark all").check()
        page.get_by_role("button", name="Restore").click()
        visit.sees("No run is like that")
        visit.go(f"/runs/{marked[0]}")
        visit.sees("keep", "Archive")
        assert visit.complaints == []


def test_marks_stay_while_one_pages_and_all_that_is_found_is_compared(
    chromium: Browser, yard: Yard, workspace: Workspace, axe: str
) -> None:
    for number in range(102):
        tags = {"rate": f"{number % 7}"}
        said = {"experiment": "many", "id": f"many-{number:03d}", "display_name": f"try-{number:03d}", "tags": tags}
        workspace.transport.call("POST", "/interactive-runs", json=said)
        points = "".join(f'["s","loss",{1 / (step + number + 1)},1.5,{step}]\n' for step in range(3))
        body, query = points.encode(), {"writer": "w", "offset": "0"}
        workspace.transport.request("POST", f"/runs/many-{number:03d}/metrics", body=body, query=query).close()
        workspace.transport.call("POST", f"/runs/many-{number:03d}/complete")
    with browsers.visiting(chromium, yard.portal_url) as visit:
        page = visit.page
        visit.go("/runs?experiment=many&sort=name")
        for number in (3, 5):
            page.get_by_label(f"Mark try-{number:03d}").check()
        page.get_by_role("link", name="Older").click()
        visit.sees("try-101", "2 marked, 2 not on this page")
        page.get_by_label("Mark try-101").check()
        visit.sees("3 marked, 2 not on this page")
        page.get_by_role("button", name="Compare the marked runs").click()
        visit.sees("3 runs compared")
        assert set(page.locator("thead a.key").all_text_contents()) == {"try-003", "try-005", "try-101"}
        page.go_back()
        visit.sees("3 marked, 2 not on this page")
        page.get_by_role("link", name="Newest").click()
        visit.sees("3 marked, 1 not on this page")
        assert page.get_by_label("Mark try-005").is_checked()
        page.get_by_title("Sort by Run").click()
        page.wait_for_url("**sort=-name**")
        page.get_by_role("link", name="Compare all that are found").click()
        visit.sees("102 runs compared", "All that the", "loss")
        stands_up(visit, axe)
        page.get_by_role("link", name="table of runs").click()
        visit.sees("3 marked")
        visit.go("/runs?experiment=digits")  # other runs have marks of their own
        assert page.get_by_role("button", name="Unmark all").is_hidden()
        page.go_back()
        page.get_by_role("button", name="Unmark all").click()
        page.locator("#marked output", has_text=re.compile("^mark all$")).wait_for()
        page.reload()
        assert not page.get_by_label("Mark try-101").is_checked()
        assert visit.complaints == []


def let_act(page: Page, workspace: Workspace) -> None:
    """Shows the workspace's token on the page Settings."""
    assert workspace.folder is not None
    known = json.loads((Path(workspace.folder) / "secrets.json").read_text())
    page.get_by_label("The workspace's token").fill(known["token"])
    page.get_by_role("button", name="Let this browser act").click()


def test_a_run_is_run_again_and_cancelled_by_a_browser_that_may_act(
    chromium: Browser, yard: Yard, workspace: Workspace, axe: str
) -> None:
    with browsers.visiting(chromium, yard.done.get_portal_url()) as visit:
        page = visit.page
        page.get_by_role("link", name="Run again…").click()
        let_act(page, workspace)
        page.get_by_role("button", name="Run again").wait_for()
        stands_up(visit, axe)
        page.get_by_role("button", name="Run again").click()
        page.wait_for_url(lambda address: f"/runs/{yard.done.id}" not in address)
        visit.sees("again of")
        visit.go(f"/runs/{yard.waits.id}")
        page.get_by_text("Cancel…").click()
        stands_up(visit, axe)
        page.get_by_role("button", name="Yes, cancel this run").click()
        visit.sees("Canceled")
        visit.go("/settings/retention/old-tries")
        page.get_by_text("Apply now…").click()
        stands_up(visit, axe)
        visit.go("/settings")
        page.get_by_label("Name").fill("a robot")
        page.get_by_role("button", name="Make a token").click()
        visit.sees("It is shown this once")
        stands_up(visit, axe)
        page.get_by_role("button", name="Revoke a robot").click()
        visit.sees("Nobody has made one")
        page.get_by_role("button", name="Only read from now on").click()
        visit.sees("Let this browser act")
        assert visit.complaints == []


# What the documentation shows, by screen.
IN_DOCS = {
    "light": (
        "runs",
        "run",
        "log",
        "code-beside",
        "notebook",
        "compare",
        "models",
        "model",
        "compute",
        "settings",
        "retention",
    ),
    "dark": ("run",),
    "phone": ("runs",),
}
WHOLE = ("compare", "settings", "retention")  # what matters of them is below, too


def _take_picture(visit: Visit, name: str, screen: str) -> None:
    folder = os.environ.get("RUNYARD_PICTURES")
    if folder and (name in IN_DOCS[screen] or os.environ.get("RUNYARD_PICTURES_OF") == "all"):
        file = f"{name}.png" if screen == "light" else f"{name}-{screen}.png"
        visit.page.screenshot(path=str(Path(folder) / file), full_page=name in WHOLE)
