"""Every page in Debian's Chromium, over real runs: one trains meanwhile, one waits, one has failed, one is done.

With RUNYARD_PICTURES set to a folder, the pictures of the documentation are written there (`make pictures`); with
RUNYARD_PICTURES_OF=all those of every page on every screen, to look at.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser

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
    print("epoch", n)
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
    View("run-done", lambda yard: f"/runs/{yard.done.id}", ("Completed", "outputs/picture.png", "optimizer", "Made")),
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
    View("compare", lambda yard: f"/compare?run={yard.done.id}&run={yard.done_again.id}", ("What differs", "rate")),
    View("experiments", lambda yard: "/experiments", ("digits", "rates", "2 going on")),
    View("models", lambda yard: "/models", ("digits", "The better one.")),
    View("model-versions", lambda yard: "/models/digits", ("The better one.", "trial")),
    View("model", lambda yard: "/models/digits/1", ("network.json", "There is a newer one", "train.py")),
    View("model-file", lambda yard: "/models/digits/1/files/network.json", ("layers",)),
    View("compute", lambda yard: "/compute", ("one-node", "1 of 1", "in use by")),
    View("datastores", lambda yard: "/datastores", ("workspaceblobstore", "default")),
    View("datastore", lambda yard: "/datastores/workspaceblobstore?folder=digits/raw", ("labels.csv",)),
    View(
        "datastore-file",
        lambda yard: "/datastores/workspaceblobstore/files/digits/raw/labels.csv",
        ("first.png", "label"),
    ),
    View("settings", lambda yard: "/settings", ("This browser", "Let this browser act")),
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


def test_a_run_is_run_again_and_cancelled_by_a_browser_that_may_act(
    chromium: Browser, yard: Yard, workspace: Workspace
) -> None:
    with browsers.visiting(chromium, yard.done.get_portal_url()) as visit:
        page = visit.page
        page.get_by_role("link", name="Run again…").click()
        assert workspace.folder is not None
        known = json.loads((Path(workspace.folder) / "secrets.json").read_text())
        page.get_by_label("The workspace's token").fill(known["token"])
        page.get_by_role("button", name="Let this browser act").click()
        page.get_by_role("button", name="Run again").click()
        page.wait_for_url(lambda address: f"/runs/{yard.done.id}" not in address)
        visit.sees("again of")
        visit.go(f"/runs/{yard.waits.id}")
        page.get_by_text("Cancel…").click()
        page.get_by_role("button", name="Yes, cancel this run").click()
        visit.sees("Canceled")
        visit.go("/settings")
        page.get_by_label("Name").fill("a robot")
        page.get_by_role("button", name="Make a token").click()
        visit.sees("It is shown this once")
        page.get_by_role("button", name="Revoke a robot").click()
        visit.sees("Nobody has made one")
        page.get_by_role("button", name="Only read from now on").click()
        visit.sees("Let this browser act")
        assert visit.complaints == []


# What the documentation shows, by screen.
IN_DOCS = {
    "light": ("runs", "run", "log", "code-beside", "notebook", "compare", "models", "model", "compute"),
    "dark": ("run",),
    "phone": ("runs",),
}


def _take_picture(visit: Visit, name: str, screen: str) -> None:
    folder = os.environ.get("RUNYARD_PICTURES")
    if folder and (name in IN_DOCS[screen] or os.environ.get("RUNYARD_PICTURES_OF") == "all"):
        file = f"{name}.png" if screen == "light" else f"{name}-{screen}.png"
        visit.page.screenshot(path=str(Path(folder) / file))
